"""Clients: bytes in, one handler per group of actions, answers out."""
