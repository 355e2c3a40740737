"""The commands of `tsfast` and the client's half of an action: one module per concern, imported only when needed."""
