"""The files of a queue's state directory (native/table.h, runs.h), as tests look at them and damage them."""

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support import layouts

HOT, COLD = ctypes.sizeof(layouts.tsf_hot), ctypes.sizeof(layouts.tsf_cold)
HOT_BYTES = layouts.TSF_HOT_BYTES  # the hot records of a segment, before its cold ones
ENTRY = ctypes.sizeof(layouts.tsf_run)


def hot_at(id: int) -> int:
    """Where the hot record of a job is in its segment."""
    return id % layouts.TSF_SEGMENT_JOBS * HOT


def cold_at(id: int) -> int:
    return HOT_BYTES + id % layouts.TSF_SEGMENT_JOBS * COLD


def flip(path: Path, offset: int, mask: int = 0x55) -> None:
    with path.open("r+b", buffering=0) as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


@contextlib.contextmanager
def changed(path: Path, structure: type, offset: int = 0) -> Iterator[Any]:
    """A structure in a file; what was changed of it is written back."""
    with path.open("r+b", buffering=0) as file:
        file.seek(offset)
        found = structure.from_buffer_copy(file.read(ctypes.sizeof(structure)))
        yield found
        file.seek(offset)
        file.write(bytes(found))


def entries(state: Path) -> dict[int, Any]:
    """The entries of `runs` that are not free, by their numbers."""
    data = (state / "runs").read_bytes()
    found = {n: layouts.tsf_run.from_buffer_copy(data, n * ENTRY) for n in range(1, len(data) // ENTRY)}
    return {number: run for number, run in found.items() if run.word & 0xFF != layouts.TSF_RUN_FREE}
