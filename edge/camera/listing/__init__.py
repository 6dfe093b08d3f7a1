"""Which files there are, in the order in which they are read: a list that is on the disk."""
