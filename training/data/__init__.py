"""Readers of the data sets, and the crops and fields made from them; fits nothing."""
