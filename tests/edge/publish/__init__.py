"""Tests of edge.publish."""
