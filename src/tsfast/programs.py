"""Where the native programs of this installation are."""

import os
import sys


def _directories() -> list[str]:
    """Where they can be, the likeliest first."""
    packages = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    try:
        called = os.path.realpath(sys.argv[0])  # pipx and uv leave a link to the command where the user sees it
    except OSError:  # a relative path, and the working directory is gone
        called = ""
    beside = [os.path.dirname(called)] if os.path.basename(called) == "tsfast" else []
    return [
        *beside,
        os.path.normpath(os.path.join(packages, "../../../bin")),  # of PREFIX/lib/python3.N/site-packages
        os.path.join(packages, "bin"),  # pip install --target
        os.path.dirname(sys.executable),
    ]


def launcher() -> str:
    """The program `ts`; "" if it is gone. Other packages have one of that name, but none with `tsfast` beside it."""
    for directory in _directories():
        if all(os.access(os.path.join(directory, name), os.X_OK) for name in ("ts", "tsfast")):
            return os.path.join(directory, "ts")
    return ""
