"""`--log`: the client checks whether the file already exists, so that the user learns it at once and the server never
waits for a user's path."""

import os
import stat
import time

from tsfast.base.text import as_line
from tsfast.grammar import logpath, options


def check(parsed: "options.Parsed") -> int:
    """0 if the launcher may continue with this submission; otherwise 255, with one line on stderr."""
    if not must_be_new(parsed):
        return 0
    flags = parsed["flags"]
    path = logpath.fill(parsed["log"] or b"", os.getcwdb(), 0, parsed["label"], time.time_ns())
    for name in (path, path + b".e") if flags & options.FLAGS["split_stderr"] else (path,):
        if os.path.lexists(name) and not is_device(path):
            shown = os.fsdecode(name[:200])
            os.write(2, as_line(f"ts: --log: '{shown}' is there already; --append or --truncate would write to it"))
            return 255
    return 0


def is_device(path: bytes) -> bool:
    """/dev/null or a terminal, where nothing can be lost; not a link to one, such as /dev/stdout, which is another file
    for the job than for its client."""
    try:
        return stat.S_ISCHR(os.lstat(path).st_mode)
    except OSError:
        return False


def wants_check(parsed: "options.Parsed") -> bool:
    """Whether the server leaves something to the client: the day here, or a file that must not exist yet."""
    return b"{date}" in (parsed["log"] or b"") or must_be_new(parsed)


def must_be_new(parsed: "options.Parsed") -> bool:
    """Whether the file must not exist. A path with {id} is unknown yet; the start of the job checks it."""
    path = parsed["log"]
    rewrites = options.FLAGS["append"] | options.FLAGS["truncate"]
    known = b"{id}" not in path if path is not None and not parsed["array"] else False
    return known and not parsed["flags"] & rewrites


def mark() -> dict[bytes, bytes]:
    """The variable that reports the check; its value is the day here."""
    return {b"TSFAST_LOG_CHECKED": time.strftime("%Y-%m-%d").encode()}
