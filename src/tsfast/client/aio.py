"""A queue for asyncio: whatever would block the event loop is a coroutine."""

import asyncio
import contextvars
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeVar, Unpack

from tsfast.client.errors import QueueError
from tsfast.client.events import Event, EventStream
from tsfast.client.job import Options, Word
from tsfast.client.queue import Ends, Ids, JobLike, Queue, id_list
from tsfast.client.result import Result

if TYPE_CHECKING:
    import numpy
    import numpy.typing

P = ParamSpec("P")
T = TypeVar("T")


class AsyncQueue:
    """`Queue` with coroutines. `queue` is the plain queue; its methods that only read the job table (state, result,
    jobs, job) take no time and can be called directly."""

    def __init__(self, socket: str | os.PathLike[str] | None = None):
        self.queue = Queue(socket)

    async def __aenter__(self) -> "AsyncQueue":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.queue.close()

    async def submit(self, argv: Sequence[Word], *, block: bool = True, **options: Unpack[Options]) -> int:
        """See Queue.submit. After a cancellation it continues in its thread: the job may still be queued."""
        return await _in_thread(lambda: self.queue.submit(argv, block=block, **options))

    async def submit_many(
        self, batch: Iterable[JobLike], *, block: bool = True
    ) -> "numpy.typing.NDArray[numpy.uint64]":
        """See Queue.submit_many."""
        return await _in_thread(lambda: self.queue.submit_many(batch, block=block))

    async def as_completed(self, ids: Ids, timeout: float | None = None) -> AsyncIterator[Result]:
        """See Queue.as_completed."""
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        with await _in_thread(Ends, self.queue, ids) as waiting:  # for very many ids, reading takes a while
            while True:
                for result in await _in_thread(waiting.take):
                    yield result
                if not waiting.pending:
                    return
                async with asyncio.timeout_at(deadline):
                    stream = await _in_thread(lambda: waiting.stream)  # it may have to start a server
                    await _readable(stream)
                    await _in_thread(waiting.read, 0)

    async def wait(self, ids: Ids, timeout: float | None = None) -> list[Result]:
        """See Queue.wait."""
        wanted = id_list(ids)
        found = {result.id: result async for result in self.as_completed(wanted, timeout)}
        return [found[id] for id in wanted]

    async def watch(self, since: int | None = None) -> AsyncIterator[Event]:
        """See Queue.watch; never ends."""
        with await _in_thread(EventStream, self.queue.path, since) as stream:
            while True:
                await _readable(stream)
                for event in stream.read(0):
                    yield event

    async def cancel(self, ids: Ids) -> None:
        """See Queue.cancel."""
        await _in_thread(self.queue.cancel, ids)

    async def kill(self, ids: Ids) -> None:
        """See Queue.kill."""
        await _in_thread(self.queue.kill, ids)

    async def remove(self, ids: Ids) -> None:
        """See Queue.remove."""
        await _in_thread(self.queue.remove, ids)

    async def ask(self, *words: str) -> str:
        """See Queue.ask."""
        return await _in_thread(self.queue.ask, *words)


async def _in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs what may wait for the server or a disk. Raises QueueError if no thread can be started, RuntimeError once the
    event loop's executor is shut down."""
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    try:
        future = loop.run_in_executor(None, lambda: context.run(call, *args, **kwargs))
    except RuntimeError as error:
        if "shutdown" in str(error).lower():
            raise
        raise QueueError(f"no thread can be started: {error}") from error
    return await future


async def _readable(stream: EventStream) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(stream.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(stream.fileno())
