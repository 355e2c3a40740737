"""A queue for asyncio: what would make the event loop wait is awaited."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING, Unpack

from tsfast.events import Event, EventStream
from tsfast.jobs import Options, Word
from tsfast.queue import Ends, Ids, JobLike, Queue, id_list
from tsfast.results import Result

if TYPE_CHECKING:
    import numpy
    import numpy.typing


class AsyncQueue:
    """`Queue` with coroutines. `queue` is the one underneath, whose looks at the job table (state, result, jobs, job)
    take no time and can be used as they are."""

    def __init__(self, socket: str | os.PathLike[str] | None = None):
        self.queue = Queue(socket)

    async def __aenter__(self) -> "AsyncQueue":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.queue.close()

    async def submit(self, argv: Sequence[Word], *, block: bool = True, **options: Unpack[Options]) -> int:
        """See Queue.submit."""
        return await asyncio.to_thread(lambda: self.queue.submit(argv, block=block, **options))

    async def submit_many(
        self, batch: Iterable[JobLike], *, block: bool = True
    ) -> "numpy.typing.NDArray[numpy.uint64]":
        """See Queue.submit_many."""
        return await asyncio.to_thread(lambda: self.queue.submit_many(batch, block=block))

    async def as_completed(self, ids: Ids, timeout: float | None = None) -> AsyncIterator[Result]:
        """See Queue.as_completed."""
        waiting = await asyncio.to_thread(Ends, self.queue, ids)
        try:
            async with asyncio.timeout(timeout):
                while True:
                    for result in waiting.take():
                        yield result
                    if not waiting.pending:
                        return
                    await _readable(waiting.stream)
                    waiting.read(0)
        finally:
            waiting.stream.close()

    async def wait(self, ids: Ids, timeout: float | None = None) -> list[Result]:
        """See Queue.wait."""
        wanted = id_list(ids)
        found = {result.id: result async for result in self.as_completed(wanted, timeout)}
        return [found[id] for id in wanted]

    async def watch(self, since: int | None = None) -> AsyncIterator[Event]:
        """See Queue.watch; for ever."""
        with EventStream(self.queue.path, since) as stream:
            while True:
                await _readable(stream)
                for event in stream.read(0):
                    yield event

    async def cancel(self, ids: Ids) -> None:
        """See Queue.cancel."""
        await asyncio.to_thread(self.queue.cancel, ids)

    async def kill(self, ids: Ids) -> None:
        """See Queue.kill."""
        await asyncio.to_thread(self.queue.kill, ids)

    async def remove(self, ids: Ids) -> None:
        """See Queue.remove."""
        await asyncio.to_thread(self.queue.remove, ids)

    async def ask(self, *words: str) -> str:
        """See Queue.ask."""
        return await asyncio.to_thread(self.queue.ask, *words)


async def _readable(stream: EventStream) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(stream.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(stream.fileno())
