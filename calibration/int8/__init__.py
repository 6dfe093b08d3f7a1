"""INT8 quantisation and the gate that decides whether a quantised network may be deployed; trains nothing."""
