"""A certificate authority for a programme: who is a device of it, and what the broker needs to know that."""
