"""Sources of frames behind one protocol: see edge.camera.base."""
