"""What is measured once and then relied upon: INT8 ranges of a network, and the optics of a microscope."""
