"""The database of a programme: PostgreSQL, or SQLite for one clinic, behind one protocol."""
