"""The Python around the server process: boot, and what runs at the end of a job."""
