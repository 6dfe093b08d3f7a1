"""Pure rules over counts: tally, verdict, cell registry and control statistics; no picture, no file, no clock."""
