"""Where a field lies on the slide and which of its cells were seen before; knows positions, no classes."""
