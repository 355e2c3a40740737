"""Decides which job starts next. Pure: no I/O, no clock."""
