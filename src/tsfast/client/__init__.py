"""What a Python or Cython program uses; its public names are those of `tsfast`."""
