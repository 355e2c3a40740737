"""An action on the jobs that filters choose: they become ids here, and the launcher asks the server for these."""

import os

from tsfast.base.text import as_line
from tsfast.location import paths, programs, state

RANGES_MOST = 65536  # of one call, as the grammar
WORD_MOST = 100_000  # bytes; the kernel takes 128 KiB


def run(action: str, words: list[str]) -> int:
    """Do `action` (an option) to the jobs that the words choose; the exit code. Does not return if there are any."""
    from tsfast.client import selection
    from tsfast.client.reader import TableError

    try:
        place = state.find(paths.canonical(paths.socket_path()), os.environ)
        found = (
            [] if place is None else selection.select(state.open_place(place), [os.fsencode(word) for word in words])
        )
    except (paths.StateError, OSError, TableError) as error:
        return failed(str(error))
    if not found:
        os.write(2, as_line("ts: no job matches"))
        return 0
    if len(found) > RANGES_MOST:
        return failed(f"{action}: {len(found)} separate ids match, and a call takes {RANGES_MOST}: name fewer jobs")
    launcher = programs.launcher()
    try:
        os.execve(launcher, ["ts", action, *id_words(found)], programs.environment())
    except OSError as error:
        return failed(f"the launcher {launcher or 'ts'} cannot be run: {error.strerror}")


def id_words(found: list[tuple[int, int]]) -> list[str]:
    """Runs of ids as words of a command line: `3,7-12`, as few as the kernel takes."""
    words, word = [], ""
    for first, last in found:
        text = str(first) if first == last else f"{first}-{last}"
        if len(word) + len(text) >= WORD_MOST:
            words.append(word)
            word = ""
        word += f",{text}" if word else text
    return [*words, word]


def failed(text: str) -> int:
    os.write(2, as_line(f"ts: {text}"))
    return 255
