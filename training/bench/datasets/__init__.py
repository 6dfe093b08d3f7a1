"""Readers of labelled cells for the bench and the splits that keep groups whole; no network."""
