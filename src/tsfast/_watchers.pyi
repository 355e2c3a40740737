from typing import final

from tsfast._conns import Conns
from tsfast._events import Events

@final
class Watchers:
    def __init__(self, conns: Conns, events: Events) -> None: ...
