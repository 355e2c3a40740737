from typing import final

from tsfast.base.loop import Loop
from tsfast.engine.local import Runners
from tsfast.store.contexts import Contexts
from tsfast.store.table import Table

@final
class Spool:
    def __init__(self, loop: Loop, table: Table, contexts: Contexts, runners: Runners) -> None: ...
