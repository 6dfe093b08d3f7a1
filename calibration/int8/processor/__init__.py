"""The INT8 form that ONNX Runtime runs on processors, written from TensorRT's."""
