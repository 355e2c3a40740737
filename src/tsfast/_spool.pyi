from typing import final

from tsfast._contexts import Contexts
from tsfast._loop import Loop
from tsfast._runners import Runners
from tsfast._table import Table

@final
class Spool:
    def __init__(self, loop: Loop, table: Table, contexts: Contexts, runners: Runners) -> None: ...
