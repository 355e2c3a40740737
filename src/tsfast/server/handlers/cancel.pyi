from typing import final

from tsfast.base.loop import Loop
from tsfast.lifecycle.spool import Spool
from tsfast.server.handlers.several import Many
from tsfast.server.replies import Replies

@final
class Cancel:
    def __init__(self, loop: Loop, reply: Replies, many: Many, spool: Spool, grace_s: int) -> None: ...
