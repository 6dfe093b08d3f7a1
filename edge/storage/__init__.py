"""The device's one SQLite database: opening, migrations and the outbox; knows rows, not their meaning."""
