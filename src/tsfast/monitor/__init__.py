"""Asks NVML about the machine's GPUs, in a process of its own."""
