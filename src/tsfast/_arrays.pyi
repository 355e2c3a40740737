from typing import final

from tsfast._jobs import Queue

@final
class Arrays:
    def __init__(self, queue: Queue) -> None: ...
