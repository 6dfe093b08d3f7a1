"""The device's SQLite database, its copies and the marker of its sample; knows rows, not their meaning."""
