from typing import final

from tsfast.store.journal import Journal

@final
class Outbox:
    def __init__(self, journal: Journal) -> None: ...
