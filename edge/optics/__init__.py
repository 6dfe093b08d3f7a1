"""Pixel size, flat field and white balance, measured from pictures and written as the file that edge.vision applies."""
