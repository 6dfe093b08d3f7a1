"""From a trained network to a model file with its contract; needs no data set."""
