"""Pixel size, flat field and white balance of a microscope; writes the file that edge.vision applies."""
