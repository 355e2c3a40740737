from typing import final

from tsfast.lifecycle.spool import Spool
from tsfast.server.connections import Conns

@final
class Commands:
    def __init__(self, conns: Conns, spool: Spool, version: bytes, max_unfinished: int) -> None: ...
