from typing import final

from tsfast._table import TableError as TableError

def answers(directory: int, name: bytes) -> bool: ...
def drop_queue(state_dir: int, boot_id: str) -> None: ...
def filesystem_type(fd: int) -> int: ...

@final
class Server:
    def __init__(
        self,
        *,
        state_dir: int,
        socket_path: str,
        runner: str,
        boot_id: str,
        version: bytes,
        max_unfinished: int,
        gpus: int,
        gpu_timeout: int,
        cancel_grace: int,
        durable: bool | None,
        fault: bytes,
    ) -> None: ...
    @property
    def damaged(self) -> int | None: ...
    @property
    def truncated(self) -> int: ...
    def recover(self, slots: int, max_finished: int) -> list[int]: ...
    def listen(self) -> None: ...
    def run(self) -> bool: ...
