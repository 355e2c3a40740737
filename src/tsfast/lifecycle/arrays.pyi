from typing import final

from tsfast.scheduler.scheduler import Queue

@final
class Arrays:
    def __init__(self, queue: Queue) -> None: ...
