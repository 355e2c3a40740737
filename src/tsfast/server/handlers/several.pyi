from typing import final

from tsfast.base.loop import Loop
from tsfast.lifecycle.spool import Spool
from tsfast.server.replies import Replies
from tsfast.server.waiters import Waiters

@final
class Many:
    def __init__(self, loop: Loop, reply: Replies, waiters: Waiters, spool: Spool) -> None: ...
