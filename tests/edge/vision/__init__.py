"""Tests of edge.vision."""
