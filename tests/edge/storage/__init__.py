"""Tests of edge.storage."""
