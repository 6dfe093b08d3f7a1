"""The life of a sample, from its start to its erasure, and its records on the disk; knows no camera and no thread."""
