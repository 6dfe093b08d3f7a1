"""Tests of edge.screening."""
