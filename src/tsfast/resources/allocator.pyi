from typing import final

from tsfast.base.loop import Loop
from tsfast.store.table import Table

@final
class Grants:
    def __init__(self, loop: Loop, table: Table) -> None: ...
