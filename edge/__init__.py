"""All that runs while a sample is read. Imports none of the packages beside it; importing it has no effect."""
