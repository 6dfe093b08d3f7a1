"""Model files, their contract and the backends that run them; knows tensors, no cells."""
