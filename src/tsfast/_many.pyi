from typing import final

from tsfast._loop import Loop
from tsfast._replies import Replies
from tsfast._spool import Spool
from tsfast._waiters import Waiters

@final
class Many:
    def __init__(self, loop: Loop, reply: Replies, waiters: Waiters, spool: Spool) -> None: ...
