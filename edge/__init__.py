"""The device's program: everything that runs while a sample is read; imports none of the packages beside it."""
