from typing import final

from tsfast.base.loop import Loop
from tsfast.store.contexts import Contexts
from tsfast.store.table import Table

@final
class Hooks:
    def __init__(self, loop: Loop, table: Table, contexts: Contexts, program: int, state_dir: int) -> None: ...
