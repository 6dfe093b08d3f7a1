"""Tests of edge.batch.reading."""
