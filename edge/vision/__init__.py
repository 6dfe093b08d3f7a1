"""From a frame to classified cells: quality, scale, detection, classification; no file, no clock, no sample."""
