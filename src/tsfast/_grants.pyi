from typing import final

from tsfast._loop import Loop
from tsfast._table import Table

@final
class Grants:
    def __init__(self, loop: Loop, table: Table) -> None: ...
