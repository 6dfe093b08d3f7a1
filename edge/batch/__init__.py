"""`sicklescope scan`: files in, result files out; knows no service, database or broker."""
