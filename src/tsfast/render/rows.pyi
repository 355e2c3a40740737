from typing import Any

def render(
    kind: str,
    fields: dict[str, Any],
    *,
    columns: int = 0,
    colour: bool = False,
    gpus: bool = False,
    now_ns: int = 0,
    terminal: bool = False,
) -> bytes: ...
