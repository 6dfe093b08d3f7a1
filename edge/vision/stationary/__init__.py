"""What stays at one place of the frame while the slide moves: dirt in the optics, or a pointer; knows no classes."""
