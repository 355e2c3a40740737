from typing import final

from tsfast.base.loop import Loop

@final
class Runners:
    def __init__(self, loop: Loop, state_dir: int, program: str, boot_id: str, fault: bytes) -> None: ...
