from typing import final

from tsfast._contexts import Contexts
from tsfast._loop import Loop
from tsfast._table import Table

@final
class Hooks:
    def __init__(self, loop: Loop, table: Table, contexts: Contexts, program: int, state_dir: int) -> None: ...
