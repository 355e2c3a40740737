from typing import final

from tsfast.base.loop import Loop

@final
class Conns:
    def __init__(self, loop: Loop) -> None: ...
