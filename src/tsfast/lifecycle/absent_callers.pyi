from typing import final

from tsfast.lifecycle.spool import Spool

@final
class AbsentCallers:
    def __init__(self, spool: Spool) -> None: ...
