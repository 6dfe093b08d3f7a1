"""The operator's page: HTML made on the device from what the API knows; holds no rule of a sample and no statistics."""
