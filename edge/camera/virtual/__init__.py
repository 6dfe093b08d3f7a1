"""The rendered slide: its optics, its cells and their known truth; reads no file and no hardware."""
