"""The only code that changes a job's state: memory and disk in the order of docs/reliability.md."""
