"""Architectures, augmentation and features of the bench; knows no data set."""
