"""Sources of frames and picture decoders behind one protocol; knows no cells but the virtual slide's."""
