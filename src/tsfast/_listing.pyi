from collections.abc import Callable
from typing import TypedDict, type_check_only

from tsfast._table import TableError as TableError

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

def live_jobs(dir_fd: int) -> list[LiveJob]: ...
def write_list(dir_fd: int, format: int, columns: int, colour: bool, write: Callable[[bytes], object]) -> None: ...
