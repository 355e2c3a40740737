"""What the sanitizers and valgrind have found: files in the directory `reports` of the environment."""

import sys
from pathlib import Path

DIRECTORY = Path(sys.prefix, "reports")


def make_directory() -> None:
    DIRECTORY.mkdir(exist_ok=True)
    DIRECTORY.chmod(0o1777)  # the processes of all users report


def take() -> str:
    """All that has come since the last call. Those that say nothing (yet) stay."""
    texts = []
    for path in sorted(DIRECTORY.glob("*")):
        if text := path.read_text(errors="replace"):
            texts.append(f"{path.name}:\n{text}")
            path.unlink()
    return "\n".join(texts)


def clear() -> None:
    for path in DIRECTORY.glob("*"):
        path.unlink()
