"""Serves clients: bytes in, one handler per group of actions, replies out."""
