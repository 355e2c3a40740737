from typing import final

from tsfast._jobs import Queue
from tsfast._loop import Loop

@final
class Pauses:
    def __init__(self, loop: Loop, queue: Queue) -> None: ...
