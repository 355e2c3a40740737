"""`--set_logdir`: the client checks the directory, so that the server never waits for a user's path."""

import os

from tsfast.base.text import as_line


def check(path: bytes | None) -> int:
    """0 if output files can be created in `path`, and the launcher may continue; otherwise 255, with one line on
    stderr."""
    path = path or b""
    if not os.path.isdir(path):
        why = "is not a directory"
    elif not os.access(path, os.W_OK | os.X_OK):
        why = "is not writable"
    else:
        return 0
    os.write(2, as_line(f"ts: --set_logdir: '{os.fsdecode(path[:200])}' {why}"))
    return 255
