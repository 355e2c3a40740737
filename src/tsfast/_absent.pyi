from typing import final

from tsfast._spool import Spool

@final
class AbsentCallers:
    def __init__(self, spool: Spool) -> None: ...
