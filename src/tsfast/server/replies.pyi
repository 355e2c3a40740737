from typing import final

from tsfast.server.connections import Conns

@final
class Replies:
    def __init__(self, conns: Conns) -> None: ...
