"""Starts, signals and watches the processes of jobs."""
