"""What NVML tells of the machine's GPUs, asked in a process of its own."""
