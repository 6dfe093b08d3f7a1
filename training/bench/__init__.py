"""The bench: any set of labelled cells, any architecture, measured by group; ships nothing."""
