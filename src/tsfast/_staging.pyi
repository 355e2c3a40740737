from typing import final

from tsfast._contexts import Contexts
from tsfast._table import Table

@final
class Staging:
    def __init__(self, table: Table, contexts: Contexts) -> None: ...
