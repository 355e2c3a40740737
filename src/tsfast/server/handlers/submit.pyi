from typing import final

from tsfast.lifecycle.spool import Spool
from tsfast.server.connections import Conns
from tsfast.server.replies import Replies

@final
class Adding:
    def __init__(self, conns: Conns, reply: Replies, spool: Spool, max_unfinished: int) -> None: ...
