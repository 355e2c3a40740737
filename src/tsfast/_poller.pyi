from typing import final

from tsfast._loop import Loop

@final
class Poller:
    def __init__(self, loop: Loop) -> None: ...
