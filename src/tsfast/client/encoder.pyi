from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

from tsfast.client.job import Encoded, Word

WIRE_VERSION: int
FIRST_WIRE_VERSION: int
FRAME_MAX: int
REQUEST: int
WATCH: int
OUT: int
ERR: int
EXIT: int
EXIT_AT_CLOSE: int
EXEC: int
GIVE_WAY: int
ADDED: int
REFUSED: int
EVENTS: int
ALIVE: int

class EncodeError(ValueError):
    place: int
    reason: str
    def __init__(self, place: int, reason: str) -> None: ...

@final
class Encoder:
    count: int
    needs_directory: bool
    def add(self, words: Iterable[Word], cwd: Word | None = None, env: Iterable[Word] | None = None) -> None: ...
    def extend(self, jobs: Iterable[Any], spec: Callable[[Any], Encoded]) -> None: ...
    def lines(self, text: bytes, spec: Callable[[bytes], Encoded], options: Sequence[bytes] = ()) -> None: ...
    def __len__(self) -> int: ...
    @property
    def frames(self) -> int: ...
    @property
    def refers_to(self) -> tuple[int, int] | None: ...
    def looks_back(self, number: int) -> bool: ...
    def places(self, number: int) -> tuple[int, int]: ...
    def frame(
        self, number: int, caller: bytes, token: bytes, earlier: list[tuple[int, int]], no_block: bool, version: bytes
    ) -> bytes: ...

def current_caller(cwd: bytes) -> bytes: ...
def release(version: bytes) -> int: ...
def request(words: list[bytes], caller: bytes, version: bytes) -> bytes: ...
def caller(
    cwd: bytes, env: list[bytes], umask: int, nice: int, limits: list[tuple[int, int]], affinity: bytes
) -> bytes: ...
