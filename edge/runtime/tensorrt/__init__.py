"""The TensorRT backend: engines built, cached, checked and run; imported only when that backend is chosen."""
