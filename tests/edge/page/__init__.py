"""Tests of edge.page."""
