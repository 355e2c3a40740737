"""The tasks of an executor: their jobs, their futures, and the threads that bring them together.

One thread receives events; others set the results and so run callbacks and what unpickling runs, none of which can
delay or end the receiving thread; another asks the server to remove jobs, because cancel() must not wait for it in an
event loop. None is a daemon: a program that ends waits for its tasks, as with other executors.
"""

import concurrent.futures
import contextlib
import logging
import os
import select
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tsfast.client.connection import ATTEMPTS, PAUSE_S
from tsfast.client.errors import (
    BatchInterrupted,
    JobRefused,
    QueueError,
    QueueWarning,
    RequestFailed,
    SubmissionInterrupted,
    UnknownJob,
)
from tsfast.client.events import CHANGE, ENDED, Event, EventStream
from tsfast.client.job import Job, Options
from tsfast.client.queue import Queue, ending
from tsfast.client.result import Result
from tsfast.executor import calls, outcome
from tsfast.executor.bell import Bell
from tsfast.executor.calls import Call, Calls, Directory
from tsfast.executor.futures import JobFuture
from tsfast.executor.removals import Removals

_GONE_S = 0.5  # an event follows what it tells by no more than a turn of the server
_STUCK_S = 0.1  # after a longer callback the others get another thread
_PATIENCE_S = 3.0  # of cancel() with a server that does not answer
_PATIENCE_IN_LOOP_S = 0.1  # of the same in an event loop
_WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "worker.py")
_LOGGER = logging.getLogger("concurrent.futures")

_exiting = False  # the interpreter waits for its threads, or has done so


def _exit() -> None:
    global _exiting
    _exiting = True


try:  # before the interpreter waits for the threads, as concurrent.futures does; atexit comes later
    threading._register_atexit(_exit)  # type: ignore[attr-defined]
except RuntimeError:
    _exiting = True  # this is imported while the interpreter ends


class _Task:
    __slots__ = ("calls", "future", "path")

    def __init__(self, future: JobFuture[Any], path: str | None, calls: Calls | None):
        self.future = future
        self.path = path  # the file of the result, if the task leaves one
        self.calls = calls


class _Thread(threading.Thread):
    """Of an executor."""

    def __init__(self, tasks: "Tasks", target: Callable[[], None]):
        super().__init__(target=target, name="tsfast executor", daemon=False)
        self.tasks = tasks


class Tasks:
    """The jobs of an executor, and, while there are any, the threads that receive their ends and deliver them."""

    def __init__(self, queue: Queue | str | os.PathLike[str] | None):
        self._own = not isinstance(queue, Queue)
        self.queue = queue if isinstance(queue, Queue) else Queue(queue)
        self._changed = threading.Condition()  # reentrant, for signal handlers and __del__
        self._opening = threading.RLock()
        self._pending: dict[int, _Task] = {}  # their ends have not been received
        self._heard: dict[int, tuple[_Task, Result | QueueError]] = {}  # not yet delivered
        self._left: dict[int, _Task] = {}  # given up, but their jobs may run
        self._new: list[int] = []  # their ends may have been told before they were known here
        self._look: dict[int, Event | None] = {}  # jobs to look at, and how they ended, if that was told
        self._early: dict[int, Event] = {}  # ends of jobs that are not known here, but may be those being submitted
        self._gone: dict[int, float] = {}  # no longer in the table; until when an event may still tell why (monotonic)
        self._removals = Removals(self.queue, self._changed)
        self._submitting = 0
        self._closed = False
        self._threads: set[_Thread] = set()  # that have not been seen to end
        self._running = 0  # how many of them have work
        self._listens = False  # there is a thread that does
        self._passers = self._idle = 0  # threads that pass on, those that have nothing to pass on
        self._passing = self._passed = 0  # futures
        self._stuck: tuple[int, float] = (0, 0.0)  # what they had done at that time
        self._streams: list[EventStream] = []  # the one that is open
        self._pid = os.getpid()
        self._files = 0
        self._place = Directory(self.queue)
        try:
            self._bell = Bell()
        except OSError as error:
            raise QueueError(f"the executor cannot be created: {error.strerror}") from error
        self._clean = weakref.finalize(self, _clean, self._place, self._bell, self._streams, self._pid)

    @property
    def _directory(self) -> str:
        """The directory of calls and results; it needs a server. Raises QueueError."""
        with self._opening:
            if self._submitting or not self._closed:
                self._open()
                self._place.make()
            return self._place.path

    # ---- adding

    def submit_calls(
        self, function: Callable[..., Any], jobs: list[list[Call]], several: bool, options: Options
    ) -> list[JobFuture[Any]]:
        """A job for each list of calls. several: its result is the list of theirs."""
        with self._adding():
            if not jobs:
                return []
            if not sys.executable:
                raise QueueError("sys.executable, which runs the tasks, is unknown")
            text, offsets = calls.packed(function, jobs, several)
            fields: Options = {"label": calls.label(function), **options}
            directory = self._directory
            with self._changed:
                self._files += 1
                path = os.path.join(directory, str(self._files))
            results = [f"{path}.{i}" for i in range(len(jobs))]
            program = [sys.executable, "-P", _WORKER, path]
            words = [[*program, str(offset), result] for offset, result in zip(offsets, results, strict=True)]
            group = Calls(path, len(jobs))
            group.write(text)
            return self.submit_jobs([Job(argv, **fields) for argv in words], results, group)

    def submit_jobs(self, jobs: list[Job], results: list[Any], group: Calls | None = None) -> list[JobFuture[Any]]:
        """results: the files that they leave, None if they leave none."""
        with self._adding():
            queued: Calls | None = None
            try:
                encoded = self.queue.encode(jobs)
                self._open()
                self._listen()
                try:
                    queued = group  # from here on jobs may need it
                    runs = self.queue.submit_encoded(encoded)
                except (JobRefused, RequestFailed):
                    queued = None
                    raise
                except (BatchInterrupted, SubmissionInterrupted, QueueWarning) as error:  # a warning that is an error
                    self._removals.ask([id for first, last in error.runs for id in range(first, last + 1)], self._run)
                    raise
            except BaseException:
                if group is not None and queued is None:
                    group.remove()
                elif group is not None:
                    self._place.needed_by.add(None)
                raise
            ids = [id for first, last in runs for id in range(first, last + 1)]
            tasks = {}
            for id, result in zip(ids, results, strict=True):
                future: JobFuture[Any] = JobFuture()
                future.id, future._tasks = id, self
                tasks[id] = _Task(future, result, group)
            with self._changed:
                self._pending.update(tasks)
                self._new += ids
            return [task.future for task in tasks.values()]

    @contextlib.contextmanager
    def _adding(self) -> Iterator[None]:
        """Raises RuntimeError if it is too late for more tasks."""
        if self._pid != os.getpid():
            raise RuntimeError("the executor belongs to the process that this one was forked from")
        with self._changed:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if _exiting:
                raise RuntimeError("cannot schedule new futures after interpreter shutdown")
            self._submitting += 1
        try:
            yield
        finally:
            with self._changed:
                self._submitting -= 1
                self._finish_if_done()
            self._bell.ring()

    def _open(self) -> EventStream:
        """The stream, opened before the jobs are queued whose events it must contain. Raises QueueError."""
        with self._opening:
            if not self._streams:
                self._streams.append(EventStream(self.queue.path, start=True))
            return self._streams[0]

    def _listen(self) -> None:
        """Start the receiving thread if there is none. Raises QueueError, and RuntimeError while the interpreter
        ends."""
        with self._changed:
            if not self._listens:
                self._listens = True
                try:
                    self._run(self._serve)
                except RuntimeError as error:
                    self._listens = False
                    if "shutdown" in str(error):
                        raise RuntimeError("cannot schedule new futures after interpreter shutdown") from None
                    raise QueueError(f"no thread can be started for the tasks: {error}") from error

    def _run(self, target: Callable[[], None]) -> None:
        """Runs it in a thread. Raises RuntimeError: none can be started."""

        def run() -> None:
            try:
                target()
            finally:
                with self._changed:
                    self._running -= 1
                    self._finish_if_done()
                    self._changed.notify_all()

        thread = _Thread(self, run)
        with self._changed:
            thread.start()
            self._running += 1
            self._threads = {*filter(threading.Thread.is_alive, self._threads), thread}

    def inside(self) -> bool:
        """This is a thread of the executor."""
        thread = threading.current_thread()
        return isinstance(thread, _Thread) and thread.tasks is self

    # ---- taking away

    def cancel(self, future: JobFuture[Any]) -> bool:
        if self._pid != os.getpid() or future.done() or future.running():
            return future.cancelled()
        deadline = time.monotonic() + _patience()
        future._unwanted = True
        removal = None
        with self._changed:
            if future.id in self._pending:
                removal = self._removals.ask([future.id], self._run)

                # It may have run to its end before it was removed: the events will show it.
                def told() -> bool:
                    return (
                        future.id not in self._pending
                        or removal.error is not None
                        or future.id in removal.refused
                        or future.running()
                    )

                self._changed.wait_for(told, deadline - time.monotonic())
            heard = self._take(future.id)
            waits = future.id in self._pending
        if heard is not None:
            self._pass_on(*heard)
        elif not waits:  # another thread delivers it
            concurrent.futures.wait([future], max(0.0, deadline - time.monotonic()))
        elif removal is not None and removal.error is not None:
            raise removal.error
        return future.cancelled()

    def remove(self, futures: Iterable[JobFuture[Any]]) -> None:
        """Cancel those that are queued."""
        if self._pid != os.getpid():
            return
        ids = []
        for future in futures:
            if not future.done() and not future.running():
                future._unwanted = True
                ids.append(future.id)
        with self._changed:
            removal = self._removals.ask(ids, self._run)
            self._changed.wait_for(lambda: removal.answered, _patience())

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        if self._pid != os.getpid():
            return
        with self._changed:
            self._closed = True
            futures = [task.future for task in self._pending.values()]
            self._finish_if_done()
        if cancel_futures:
            self.remove(futures)
        while wait and not self.inside():  # a callback cannot wait for itself
            with self._changed:
                others = [thread for thread in self._threads if thread.is_alive()]
            if not others:
                return
            for thread in others:
                thread.join()

    def _finish_if_done(self) -> None:
        busy = self._submitting or self._pending or self._heard or self._passing or self._running
        if self._closed and not busy and self._clean.alive:
            if self._own:
                self.queue.close()
            self._clean()

    # ---- receiving ends

    def _serve(self) -> None:
        """The receiving thread. Whatever ends it, every future gets an exception."""
        failures = 0
        while True:
            with self._changed:
                if not self._pending and not self._submitting and not self._heard:
                    self._listens = False
                    self._changed.notify_all()
                    return
            try:
                if self._hear():
                    failures = 0
            except QueueError as error:  # the server cannot be started, or not yet
                failures += 1
                if failures >= ATTEMPTS:
                    self._give_up(error)
                    failures = 0
                else:
                    time.sleep(min(failures * PAUSE_S, 4 * PAUSE_S))
            except BaseException as error:
                what = QueueError(f"the executor has failed: {type(error).__name__}: {error}")
                what.__cause__ = error
                self._give_up(what)
                self._bell.ring()
            self._help()

    def _hear(self) -> bool:
        """Wait until something has happened; whether there is a server. Raises QueueError."""
        stream = self._open()
        both = select.poll()
        both.register(stream.fileno(), select.POLLIN)
        both.register(self._bell.fd, select.POLLIN)
        both.poll(self._until_next_look_ms())
        self._bell.hush()
        with self._changed:
            new, self._new = self._new, []
        for id in (*new, *self._gone):
            self._look.setdefault(id)
        for event in stream.read(0):
            over = event.state in ENDED or event.state == "forgotten"
            if event.kind != CHANGE:
                for id in (*self._pending, *self._left):
                    self._look.setdefault(id)
            elif over and (event.id in self._pending or event.id in self._left):
                if self._look.get(event.id) is None:  # else it told how it ended, and this tells that it is forgotten
                    self._look[event.id] = event
            elif event.state == "running" and event.id in self._pending:
                self._begins(self._pending[event.id].future)
            elif over and self._submitting:
                self._early.setdefault(event.id, event)
        for id in new:
            if (early := self._early.pop(id, None)) is not None:
                self._look[id] = early
        with self._changed:
            if not self._submitting and not self._new:
                self._early.clear()
        # The table comes last: there a removed job is just unknown.
        for id in list(self._look):
            self._look_at(id, self._look[id])
            del self._look[id]
        return stream.connected

    def _look_at(self, id: int, told: Event | None) -> None:
        if id not in self._pending and id not in self._left:
            return
        try:
            result = ending(self.queue, id, told)
        except UnknownJob:  # it existed: this is another table
            result = Result(id, "forgotten")
        if result is None:
            if told is None and id in self._pending:
                self._began(id)
        elif id in self._left:
            self._clear(self._left.pop(id), result)
        elif told is not None or result.state != "forgotten" or self._is_gone(id):
            self._gone.pop(id, None)
            with self._changed:
                if id in self._pending:
                    self._heard[id] = self._pending.pop(id), result
                    self._changed.notify_all()

    def _is_gone(self, id: int) -> bool:
        """No event on its way says how a job ended that the table has forgotten."""
        now = time.monotonic()
        return self._gone.setdefault(id, now + _GONE_S) <= now

    def _until_next_look_ms(self) -> float | None:
        """None: until something happens."""
        if self._look:
            return 0.0
        left = [min(self._gone.values()) - time.monotonic()] if self._gone else []
        if self._heard:
            left.append(_STUCK_S)
        return max(0.0, min(left)) * 1000 + 1 if left else None

    def _began(self, id: int) -> None:
        """A job whose start may have been reported before it was known here."""
        now = self.queue.result(id)
        if now.state == "running" and now.start is not None:
            self._begins(self._pending[id].future)

    def _begins(self, future: JobFuture[Any]) -> None:
        if not future.done() and not future.running():
            with contextlib.suppress(RuntimeError, concurrent.futures.InvalidStateError):  # the program has set it
                future.set_running_or_notify_cancel()
            with self._changed:
                self._changed.notify_all()

    def _give_up(self, error: QueueError) -> None:
        """Every future gets the exception; files stay for jobs that may run."""
        with self._changed:
            self._left.update(self._pending)
            self._place.needed_by.update(self._pending)
            self._heard.update({id: (task, error) for id, task in self._pending.items()})
            self._pending.clear()
            self._gone.clear()
            self._look.clear()
            self._changed.notify_all()
        with self._opening:
            while self._streams:
                self._streams.pop().close()

    # ---- delivering them

    def _help(self) -> None:
        """Ensure that a thread delivers what was received, although callbacks may block all delivering threads."""
        now = time.monotonic()
        with self._changed:
            if self._passed != self._stuck[0] or not self._heard:
                self._stuck = self._passed, now
            stuck = not self._idle and now - self._stuck[1] >= _STUCK_S
            if not self._heard or (self._passers and not stuck):
                return
            self._stuck = self._passed, now
            self._passers += 1
            try:
                self._run(self._pass_all)
                return
            except RuntimeError:  # no thread can be started
                self._passers -= 1
        while (heard := self._take()) is not None:
            self._pass_on(*heard)

    def _take(self, id: int | None = None) -> tuple[_Task, Result | QueueError] | None:
        """The next received end, for the calling thread to deliver."""
        with self._changed:
            if id is None:
                id = next(iter(self._heard), None)
            heard = None if id is None else self._heard.pop(id, None)
            if heard is not None:
                self._passing += 1
            return heard

    def _pass_all(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._heard or not self._listens or self._idle > 1)
                self._idle -= 1
                heard = self._take()
                if heard is None:
                    self._passers -= 1
                    return
            self._pass_on(*heard)
            del heard  # keep nothing of it while there is nothing to do

    def _pass_on(self, task: _Task, told: Result | QueueError) -> None:
        """In any thread: whatever the result or a callback does, the next one is delivered."""
        try:
            self._settle(task, told)
        except BaseException:
            if not self.inside():
                raise
            _LOGGER.exception("exception at the end of %r", task.future)
        finally:
            with self._changed:
                self._passing -= 1
                self._passed += 1
                self._finish_if_done()
                self._changed.notify_all()
            if not self._heard:
                self._bell.ring()

    def _settle(self, task: _Task, told: Result | QueueError) -> None:
        future = task.future
        value, error = None, None
        if isinstance(told, Result):
            try:
                value, error = outcome.of(self.queue, task.path, told)
            except BaseException as failed:
                error = failed
            self._clear(task, told)  # before the end is visible, because its files are gone then
            # Of a job removed before its events were read, only its absence is known.
            gone = told.state in ("removed", "forgotten") and isinstance(error, outcome.JobError)
            if gone and future._unwanted:
                concurrent.futures.Future.cancel(future)
        else:
            error = told
        try:
            if future.cancelled():
                if not future._notified:
                    future._notified = True
                    future.set_running_or_notify_cancel()
            elif error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
        except (concurrent.futures.InvalidStateError, RuntimeError):
            if not future.done():
                raise
            # the program has set or cancelled it

    def _clear(self, task: _Task, result: Result) -> None:
        """The files of a task that has ended."""
        if result.state == "lost" or (result.state == "forgotten" and not task.future._unwanted):
            self._place.needed_by.add(task.future.id)  # it may run
            return
        self._place.needed_by.discard(task.future.id)
        if task.path is not None:
            calls.remove(task.path)
        with self._changed:
            if task.calls is not None:
                task.calls.job_ended()


def _patience() -> float:
    """How long the calling thread can wait for the server."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        try:
            asyncio.get_running_loop()
            return _PATIENCE_IN_LOOP_S
        except RuntimeError:
            pass
    return _PATIENCE_S


def _clean(place: Directory, bell: Bell, streams: list[EventStream], pid: int) -> None:
    bell.close()
    for stream in streams:
        stream.close()
    if os.getpid() == pid:
        place.remove()
    else:
        place.leave()
