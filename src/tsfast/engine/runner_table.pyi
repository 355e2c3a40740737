from typing import final

@final
class RunnerTable:
    def __init__(self, state_dir: int, boot_id: str) -> None: ...
