"""The life of a sample, from its start to its erasure, and its records on the disk.

Knows no thread and no camera but the frames that one gives.
"""
