"""Lists read straight from the table, without the server: for queues of any length."""

import os
import sys

from tsfast.base.text import as_line
from tsfast.location import paths, state
from tsfast.render import listing


def run(format: int, selectors: list[bytes] | None = None) -> int | None:
    """Write the list; the exit code, or None when there is no table yet (the server then makes one). selectors: the
    words of the call, if they choose jobs."""
    terminal = os.isatty(1)
    columns = os.get_terminal_size(1).columns if terminal else 0
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    try:
        place = state.find(paths.canonical(paths.socket_path()), os.environ)
        if place is None:
            return None
        only = None
        if selectors is not None:
            from tsfast.client import selection

            only = selection.select(state.open_place(place), selectors)
            if not only:
                os.write(2, as_line("ts: no job matches"))
                return 0
        listing.write_list(state.open_place(place), format, columns, colour, sys.stdout.buffer.write, terminal, only)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
        return 141  # as a shell shows a death by SIGPIPE
    except (paths.StateError, OSError, listing.TableError) as error:
        os.write(2, as_line(f"ts: {error}"))
        return 255
    return 0
