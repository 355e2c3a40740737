from typing import final

from tsfast.store.table import TableError as TableError

def drop_queue(state_dir: int, boot_id: str) -> None: ...

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
        hide_gpus: bool = False,
        by_unit: bool = False,
    ) -> None: ...
    @property
    def damaged(self) -> int | None: ...
    @property
    def gave_way(self) -> bool: ...
    @property
    def gone(self) -> bool: ...
    @property
    def lost(self) -> list[int]: ...
    @property
    def migrated(self) -> bool: ...
    @property
    def settings_lost(self) -> bool: ...
    @property
    def truncated(self) -> int: ...
    def recover(self, slots: int, max_finished: int) -> list[int]: ...
    def listen(self) -> None: ...
    def run(self) -> bool: ...
