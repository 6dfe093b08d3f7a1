"""From a trained network to a file that a device can run and trust."""
