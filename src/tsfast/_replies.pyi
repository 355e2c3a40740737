from typing import final

from tsfast._conns import Conns

@final
class Replies:
    def __init__(self, conns: Conns) -> None: ...
