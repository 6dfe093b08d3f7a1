"""Tests of edge.service."""
