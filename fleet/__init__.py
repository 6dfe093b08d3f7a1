"""A programme of many devices: what they publish is collected into one database; never installed on a device."""
