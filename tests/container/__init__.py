"""The container image, started and asked: `make test-image`."""
