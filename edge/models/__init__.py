"""The shipped models (package data): ONNX files and their cards; their digests are pinned in edge.runtime.contract."""
