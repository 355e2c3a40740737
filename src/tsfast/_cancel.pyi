from typing import final

from tsfast._loop import Loop
from tsfast._many import Many
from tsfast._replies import Replies
from tsfast._spool import Spool

@final
class Cancel:
    def __init__(self, loop: Loop, reply: Replies, many: Many, spool: Spool, grace_s: int) -> None: ...
