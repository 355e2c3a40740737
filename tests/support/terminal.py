"""A terminal of its own for a test: a tmux server with one window, keys that are pressed, and what the screen shows; or
a bare one, for the bytes that a call writes to it."""

import fcntl
import os
import struct
import subprocess
import termios
import tty
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from support.patience import wait_until


class Terminal:
    def __init__(
        self,
        socket: Path,
        words: Sequence[object],
        environment: Mapping[str, str],
        directory: Path,
        columns: int = 80,
        lines: int = 24,
    ) -> None:
        self.socket = socket
        self.screen = ""
        self.show_keys: tuple[str, ...] = ()
        values = [word for name, value in environment.items() for word in ("-e", f"{name}={value}")]
        self._tmux(
            "-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(lines), "-c", str(directory), *values,
            *("--", *map(str, words)), env={**environment, "TERM": "xterm-256color", "SHELL": "/bin/sh"},
        )  # fmt: skip

    def _tmux(self, *words: str, **options: object) -> str:
        return subprocess.run(
            ["tmux", "-u", "-S", self.socket, *words], check=True, capture_output=True, text=True, **options
        ).stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def type(self, text: str, *keys: str) -> None:
        self._tmux("send-keys", "-l", text)
        for key in filter(None, keys):
            self.press(key)

    def look(self, escapes: bool = False) -> str:
        self.screen = self._tmux("capture-pane", "-p", *(["-e"] if escapes else []))
        return self.screen

    def wait_for(self, text: str) -> str:
        try:
            wait_until(lambda: text in self.look())
        except AssertionError:
            raise AssertionError(f"never shown: {text!r}\n{self.screen}") from None
        return self.screen


def set_size(terminal: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def bytes_on_terminal(words: Sequence[object], environment: Mapping[str, str], directory: Path, columns: int) -> bytes:
    """What a call writes to a terminal that is its stdout and stderr, as it writes it."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)  # newlines stay what they are
    set_size(theirs, columns)
    words = [os.fsencode(str(word)) for word in words]
    with subprocess.Popen(
        words, env=environment, cwd=directory, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    ) as child:
        os.close(theirs)
        written = b""
        try:
            while data := os.read(ours, 65536):
                written += data
        except OSError:  # EIO: nobody has it open any more
            pass
        os.close(ours)
        child.wait()
    return written
