"""What the words of a command line mean. Pure: no I/O, no state."""
