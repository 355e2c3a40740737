from typing import final

from tsfast.lifecycle.events import Events
from tsfast.server.connections import Conns

@final
class Watchers:
    def __init__(self, conns: Conns, events: Events) -> None: ...
