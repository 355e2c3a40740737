from typing import final

from tsfast.base.loop import Loop
from tsfast.scheduler.scheduler import Queue

@final
class Pauses:
    def __init__(self, loop: Loop, queue: Queue) -> None: ...
