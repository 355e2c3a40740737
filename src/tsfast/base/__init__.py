"""Knows nothing about jobs: system calls, limits, event loop, text, containers, paths that others could have made."""
