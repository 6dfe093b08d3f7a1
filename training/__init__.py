"""How the shipped models are made: data, networks, fitting and evaluation; never installed on a device."""
