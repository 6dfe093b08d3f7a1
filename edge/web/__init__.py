"""The device's own API, for the operator's page and the commands beside the service."""
