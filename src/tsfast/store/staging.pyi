from typing import final

from tsfast.store.contexts import Contexts
from tsfast.store.table import Table

@final
class Staging:
    def __init__(self, table: Table, contexts: Contexts) -> None: ...
