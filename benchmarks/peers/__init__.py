"""Detectors of others, exported to ONNX with random weights, so that their speed can be measured beside ours."""
