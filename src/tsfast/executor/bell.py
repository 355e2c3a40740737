"""A descriptor with which one thread wakes another one that waits for descriptors."""

import contextlib
import os
import threading


class Bell:
    """Any thread may ring it, even after it is closed: its number may then belong to another file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def ring(self) -> None:
        with self._lock:
            if self.fd < 0:
                return
            try:
                os.eventfd_write(self.fd, 1)
            except OSError:  # the program has closed all of its descriptors, as a daemon does: another bell
                with contextlib.suppress(OSError):
                    self.fd = os.eventfd(1, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def hush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def close(self) -> None:
        with self._lock:
            if self.fd >= 0:
                with contextlib.suppress(OSError):
                    os.close(self.fd)
            self.fd = -1
