"""Tests of edge.camera.decode."""
