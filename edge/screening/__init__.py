"""Rules over counts: tally, verdict, cell registry, control statistics; no file, no clock."""
