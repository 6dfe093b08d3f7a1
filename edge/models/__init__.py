"""The shipped models: data only, their digests pinned in edge.runtime.contract."""
