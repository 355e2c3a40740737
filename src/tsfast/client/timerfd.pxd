"""For Python only."""
