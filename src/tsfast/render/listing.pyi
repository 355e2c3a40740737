from collections.abc import Callable
from typing import TypedDict, type_check_only

from tsfast.store.table import TableError as TableError

@type_check_only
class ArrayPlace(TypedDict):
    """Of an element of an array: id of the first one, its own index, how many may run at once, words with {}."""

    first: int
    index: int
    limit: int
    argv: list[bytes]

@type_check_only
class LiveJob(TypedDict):
    id: int
    running: bool
    argv: list[bytes]
    label: bytes
    prefix: bytes
    cwd: bytes
    after: list[int]
    after_ok: list[int]
    slots: int
    gpus: int
    gpu_share: int
    vram: int
    gpu_exact: bytes
    no_output: bool
    split_stderr: bool
    mail: bool
    gzip: bool
    log: bool
    append: bool
    truncate: bool
    array: ArrayPlace | None

@type_check_only
class WholeJob(LiveJob):
    """What Reader.job() returns: `running` is false once it has ended."""

    state: int
    exit_code: int | None
    signal: int | None
    status: int
    pid: int
    attempt: int
    stage: int
    cause: int
    notes: int
    order: int
    enqueue_ns: int
    start_ns: int
    duration_ns: int
    utime_ms: int
    stime_ms: int
    maxrss_kb: int
    output: bytes
    granted: list[tuple[int, bytes]]
    env_text: bytes
    foreground: bool
    volatile: bool
    hook: bool
    batch_index: int
    batch_count: int

def gpu_free_percent(dir_fd: int) -> int: ...
def live_jobs(dir_fd: int) -> list[LiveJob]: ...
def write_list(
    dir_fd: int,
    format: int,
    columns: int,
    colour: bool,
    write: Callable[[bytes], object],
    terminal: bool = False,
    only: list[tuple[int, int]] | None = None,
) -> None: ...
