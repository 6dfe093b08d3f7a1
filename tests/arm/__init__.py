"""The program on an emulated ARM64 computer: `make test-arm`."""
