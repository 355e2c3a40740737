"""Runs one task of an executor, as a queue's job: python -P .../worker.py TASKS OFFSET RESULT

TASKS is a file of pickles: sys.path, the callable, and from OFFSET on the arguments. RESULT is written under another
name and renamed: it is whole, or not there. This file imports nothing of tsfast: a task waits for no more than Python
and what it needs itself.
"""

import os
import pickle
import sys
import traceback
from collections.abc import Callable


def main() -> int:
    tasks, offset, path = sys.argv[1:]
    returned, data = outcome(tasks, int(offset))
    with open(f"{path}.part", "wb") as file:
        file.write(data)
    os.rename(f"{path}.part", path)
    return 0 if returned else 1


def outcome(tasks: str, offset: int) -> tuple[bool, bytes]:
    """Whether it returned, and what the file of the result holds."""
    try:
        with open(tasks, "rb") as file:
            sys.path[:] = pickle.load(file)
            function = pickle.load(file)
            file.seek(offset)
            calls, several = pickle.load(file)
        results = [function(*arguments, **keywords) for arguments, keywords in calls]
        return True, pickled((True, results if several else results[0], ""))
    except BaseException as error:
        trace = "".join(traceback.format_exception(error))
        sys.stderr.write(trace)
        return False, failure(error, trace)


def failure(error: BaseException, trace: str) -> bytes:
    """An exception for the file. Not every one can be pickled, or made again from what is pickled of it."""
    try:
        data = pickled((False, error, trace))
        pickle.loads(data)
    except Exception:
        data = pickle.dumps((False, None, trace))
    return data


def pickled(value: object) -> bytes:
    """By cloudpickle where it needs to be: for what belongs to the program's __main__."""
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:
        import cloudpickle

        dumps: Callable[[object], bytes] = cloudpickle.dumps
        return dumps(value)


if __name__ == "__main__":
    sys.exit(main())
