"""Tests of edge.api."""
