"""Kills, power cuts, full disks and bad brokers."""
