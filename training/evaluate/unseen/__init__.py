"""A pair on sets that it never saw: frozen counts, pasted cells, other forms of a picture, sheets to review."""
