"""What is found out about a device before it reads: its optics, and the numbers of a quantised network."""
