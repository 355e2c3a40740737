"""What a request does: one handler per group of actions."""
