"""What runs a network: one protocol, a table of backends, and the contract inside a model file."""
