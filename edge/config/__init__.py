"""The typed configuration and where its values come from; imports nothing of the device but its errors and types."""
