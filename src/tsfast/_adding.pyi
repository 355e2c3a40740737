from typing import final

from tsfast._conns import Conns
from tsfast._replies import Replies
from tsfast._spool import Spool

@final
class Adding:
    def __init__(self, conns: Conns, reply: Replies, spool: Spool, max_unfinished: int) -> None: ...
