"""For Python alone."""
