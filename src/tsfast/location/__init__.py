"""Where a queue is: its socket, its state directory, its programs."""
