"""The threads and life cycle round the pipeline; each rule it applies lies in a room below."""
