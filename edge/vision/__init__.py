"""From a frame to classified cells: quality, scale, detect, classify."""
