"""Runs of the bench: fitting, figures and pages; knows data sets and models only by name."""
