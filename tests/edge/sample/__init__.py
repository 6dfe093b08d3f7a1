"""Tests of edge.sample."""
