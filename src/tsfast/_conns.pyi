from typing import final

from tsfast._loop import Loop

@final
class Conns:
    def __init__(self, loop: Loop) -> None: ...
