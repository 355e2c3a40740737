"""The GPU monitor: writes the records of native/gpus.h to stdout, a round every half second, until its reader is gone.

    python -I -m tsfast.gpus [--once] [--own-uid N] [--period MS] [--without UUID-or-INDEX]...

It is a process of its own, since a call of NVML can hang forever, and only a process can be abandoned. A byte on stdin
requests a round at once. While NVML as a whole does not answer, the monitor reports that every few seconds and tries
again.
"""

import argparse
import contextlib
import ctypes
import os
import select
import signal
import sys
import time

from tsfast.monitor.nvml import Stale, Unavailable, words
from tsfast.monitor.records import FAILED, Record, pack
from tsfast.monitor.rounds import Poller
from tsfast.monitor.visible import VisibleError, check

PERIOD_MS = 500
LONGEST_PAUSE_S = 60.0
SIGN_OF_LIFE_S = 4.0
PR_SET_PDEATHSIG = 1


class Pipes:
    """stdout, for the records, and stdin, for requests of an early round."""

    def __init__(self) -> None:
        self._out = os.dup(1)
        with contextlib.suppress(OSError):
            os.dup2(2, 1)  # a library's output is not a record
        self._poll = select.poll()
        self._poll.register(0, select.POLLIN)
        self._poll.register(self._out, 0)  # only POLLERR, which is always reported: the reader is gone

    def write(self, record: Record) -> None:
        """Raises BrokenPipeError when the reader is gone."""
        data = pack(record)
        while True:
            try:
                os.write(self._out, data)
                return
            except BlockingIOError:
                select.select([], [self._out], [])

    def pause(self, seconds: float) -> bool:
        """Wait, at most until a request arrives; whether one did. Raises BrokenPipeError."""
        end = time.monotonic() + seconds
        while True:
            left = max(0.0, end - time.monotonic())
            for fd, events in self._poll.poll(int(left * 1000) + (left > 0)):
                if fd == self._out and events & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
                    raise BrokenPipeError
                if fd == 0:
                    if events & select.POLLIN and os.read(0, 4096):
                        return True
                    self._poll.unregister(0)  # closed: no request will come
            if time.monotonic() >= end:
                return False


def end_with_parent() -> None:
    """Without prctl, the end of the pipe says the same, unless another process holds it."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):
        pass


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("tsfast.gpus", allow_abbrev=False)
    parser.add_argument("--once", action="store_true", help="one round")
    parser.add_argument("--own-uid", type=int, default=os.getuid(), help="whose processes are not foreign")
    parser.add_argument("--period", type=int, default=PERIOD_MS, metavar="MS")
    parser.add_argument("--without", action="append", default=[], metavar="UUID-or-INDEX", help="do not ask this one")
    return parser.parse_args()


def failed(pipes: Pipes, why: str, seconds: float) -> None:
    """Report the failure until it is time to try again, or until a request arrives."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        pipes.write(Record(FAILED, why=why))
        if pipes.pause(min(left, SIGN_OF_LIFE_S)):
            return


def serve(pipes: Pipes, poller: Poller, period: float) -> None:
    """Rounds without end. Raises Stale, BrokenPipeError."""
    pause = 1.0
    while True:
        began = time.monotonic()
        try:
            for record in poller.round():
                pipes.write(record)
        except Stale:
            raise
        except Unavailable as error:
            failed(pipes, str(error), pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
            continue
        pause = 1.0
        took = time.monotonic() - began
        pipes.pause(max(period - took, took))  # half of one processor at most


def main() -> int:
    options = arguments()
    if not options.once:
        end_with_parent()
    pipes = Pipes()
    wanted = os.environ.get("TS_VISIBLE_DEVICES")
    poller = Poller(options.own_uid, set(options.without), wanted, os.environ.get("TS_GPU_MEMORY_ONLY") == "1")
    try:
        check(wanted)
        if options.once:
            for record in poller.round():
                pipes.write(record)
        else:
            serve(pipes, poller, options.period / 1000)
    except (BrokenPipeError, KeyboardInterrupt):
        return 0
    except (Unavailable, VisibleError) as error:
        return give_up(pipes, str(error))
    except BaseException as error:  # whatever it is, the server waits for a reason
        return give_up(pipes, words(error))
    finally:
        poller.close()
    return 0


def give_up(pipes: Pipes, why: str) -> int:
    """The exit code."""
    with contextlib.suppress(BrokenPipeError):
        pipes.write(Record(FAILED, why=why))
    return 1


if __name__ == "__main__":
    sys.exit(main())
