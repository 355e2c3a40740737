from typing import final

from tsfast.scheduler.scheduler import Queue
from tsfast.store.table import Table

@final
class Unreadable:
    def __init__(self, queue: Queue, table: Table) -> None: ...
