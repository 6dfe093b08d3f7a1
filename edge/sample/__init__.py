"""The life of a sample, from start to erasure, and its records on the disk; knows no thread and no camera."""
