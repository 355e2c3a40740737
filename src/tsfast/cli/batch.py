"""`ts --batch`: the lines of a file become jobs, all of them or none."""

import os
import sys
import warnings

from tsfast.base.text import as_line
from tsfast.client import errors
from tsfast.client.queue import Queue


def run(path: str, no_block: bool) -> int:
    """Queue the lines of the file at `path` (`-`: stdin) and print their ids; the exit code."""
    try:
        if path == "-":
            text = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                text = file.read()
        options: list[bytes] = []
        if os.environ.get("TS_ENV"):
            from tsfast.cli import env

            options = [b"--text_of_ts_env", os.fsencode(env.text_of(os.environ["TS_ENV"]))]
        with warnings.catch_warnings(record=True) as warned, Queue() as queue:
            warnings.simplefilter("always")
            runs = queue.submit_lines(text, options=options, block=not no_block)
        for warning in warned:
            complain(f"warning: {warning.message}")
    except errors.SubmissionInterrupted as error:
        show(error.runs)
        complain(str(error))
        return 130
    except KeyboardInterrupt:
        return 130
    except errors.JobRefused as error:
        return complain(f"{'stdin' if path == '-' else path}:{error.place}: {error.reason}")
    except errors.BatchInterrupted as error:
        show(error.runs)
        return complain(str(error))
    except errors.QueueFull as error:
        return 2 if no_block else complain(str(error))
    except errors.QueueError as error:
        return complain(str(error))
    except OSError as error:
        return complain(f"{path}: {error.strerror}")
    show(runs)
    return 0


def show(runs: list[tuple[int, int]]) -> None:
    """One line, as `-w` and the others take it."""
    if runs:
        text = ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
        os.write(1, f"{text}\n".encode())


def complain(text: str) -> int:
    os.write(2, as_line(f"ts: {text}"))
    return 255
