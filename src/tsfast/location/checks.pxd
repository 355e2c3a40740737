"""What only system calls tell of a place; for Python."""
