"""Measurements made on a device before it reads: its optics and its INT8 networks; trains nothing."""
