"""Bundles of models for the devices of a programme: made, signed, and offered to a share of them."""
