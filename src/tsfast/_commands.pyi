from typing import final

from tsfast._conns import Conns
from tsfast._spool import Spool

@final
class Commands:
    def __init__(self, conns: Conns, spool: Spool, version: bytes, max_unfinished: int) -> None: ...
