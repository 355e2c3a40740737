"""What a job needs of the machine, who has it, and how the server knows."""
