"""The only code that reads and writes the files of a queue."""
