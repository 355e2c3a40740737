"""The Python side of the command line: one module per concern, each imported only when it is needed."""
