"""Runs one task of an executor, as a queue's job: python -P .../worker.py TASKS OFFSET RESULT

TASKS is a file of pickles: sys.path, the callable, and from OFFSET on the arguments. RESULT is written under another
name and renamed: it is complete, or does not exist. This file imports nothing of tsfast: a task waits only for Python
and for what it needs itself.
"""

import os
import pickle
import sys
import traceback
from collections.abc import Callable

MARK = b"TSFR"  # as in calls.py


def main() -> int:
    tasks, offset, path = sys.argv[1:]
    process = os.getpid()
    returned, data = outcome(tasks, int(offset), process)
    if os.getpid() != process:
        return 0  # the task has forked, and this is the child: its parent has the result
    try:
        write(path, data)
    except OSError as error:  # a shorter one may fit
        text = f"its result of {len(data)} bytes cannot be written: {error}"
        say(text + "\n")
        write(path, pickle.dumps((False, None, text)))
        return 1
    return 0 if returned else 1


def outcome(tasks: str, offset: int, process: int) -> tuple[bool, bytes]:
    """Whether the task returned, and the content of the result's file. Raises what the task raises in a forked
    child."""
    try:
        file = open(tasks, "rb")  # noqa: SIM115
    except OSError as error:
        say(f"the task cannot be read: {error}\n")
        return False, pickle.dumps((False, None, f"the task cannot be read: {error}"))
    try:
        with file:
            sys.path[:] = pickle.load(file)
            function = pickle.load(file)
            file.seek(offset)
            calls, several = pickle.load(file)
        results = [function(*arguments, **keywords) for arguments, keywords in calls]
        return True, pickled((True, results if several else results[0], ""))
    except BaseException as error:
        if os.getpid() != process:
            raise
        try:
            trace = "".join(traceback.format_exception(error))
        except BaseException:  # such as no memory, or no stack
            trace = f"{type(error).__name__}, and its traceback cannot be shown\n"
        say(trace)
        return False, failure(error, trace)


def say(text: str) -> None:
    """Writes to stderr, if the task has left a working one."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except BaseException:
        pass


def failure(error: BaseException, trace: str) -> bytes:
    """An exception for the file. Not every one can be pickled, or restored from its pickle."""
    try:
        data = pickled((False, error, trace))
        if isinstance(pickle.loads(data)[1], BaseException):
            return data
    except BaseException:
        pass
    return pickle.dumps((False, None, trace))


def pickled(value: object) -> bytes:
    """With cloudpickle if necessary: for what belongs to the program's __main__."""
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:
        import cloudpickle

        dumps: Callable[[object], bytes] = cloudpickle.dumps
        return dumps(value)


def write(path: str, data: bytes) -> None:
    """Raises OSError."""
    part = f"{path}.part"
    try:
        with open(part, "wb") as file:
            file.write(MARK + len(data).to_bytes(8, "little"))
            file.write(data)
        os.rename(part, path)
    except OSError:
        try:
            os.unlink(part)
        except OSError:
            pass
        raise


if __name__ == "__main__":
    sys.exit(main())
