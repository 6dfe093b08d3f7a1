"""The commands that measure the optics: pictures from files or the camera for edge.optics."""
