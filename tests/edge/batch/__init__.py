"""Tests of edge.batch."""
