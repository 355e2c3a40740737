from typing import TypedDict, type_check_only

@type_check_only
class Parsed(TypedDict):
    action: int
    format: int
    id: int | None
    id2: int | None
    number: int | None
    text: bytes | None
    flags: int
    no_block: bool
    after_last: bool
    slots: int
    gpus: int
    gpu_share: int
    vram: int
    gpu_exact: bytes | None
    label: bytes | None
    name: bytes | None
    env_text: bytes | None
    log: bytes | None
    array: tuple[int, int, int] | None
    after: list[int]
    after_ok: list[int]
    words: int
    ranges: list[tuple[int, ...]]
    filters: int

@type_check_only
class OptionRow(TypedDict):
    letter: str
    name: str
    operand: str
    optional: bool
    action: bool
    group: str
    help: str

class GrammarError(ValueError): ...

ACTIONS: dict[str, int]
FLAGS: dict[str, int]
FORMATS: dict[str, int]

def help_bytes() -> bytes: ...
def options() -> list[OptionRow]: ...
def spelling_of(action: int) -> str: ...
def parse_words(words: list[bytes]) -> Parsed: ...
