"""Runs Python calls as jobs of a queue: concurrent.futures."""
