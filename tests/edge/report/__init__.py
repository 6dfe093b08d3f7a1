"""Tests of edge.report."""
