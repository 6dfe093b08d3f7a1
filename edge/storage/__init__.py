"""The device's SQLite database: opening, migrations, outbox; knows rows, not their meaning."""
