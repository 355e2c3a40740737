"""What a job needs of the machine, which job has it, and how the server knows."""
