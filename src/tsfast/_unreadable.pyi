from typing import final

from tsfast._jobs import Queue
from tsfast._table import Table

@final
class Unreadable:
    def __init__(self, queue: Queue, table: Table) -> None: ...
