from typing import final

from tsfast.lifecycle.spool import Spool

@final
class Recovery:
    def __init__(self, spool: Spool) -> None: ...
    def run(self, slots: int, max_finished: int) -> list[int]: ...
    @property
    def lost(self) -> list[int]: ...
