"""Tests of edge.camera."""
