"""Tests of training.bench."""
