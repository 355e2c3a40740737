from typing import final

@final
class Selection:
    def __init__(self, dir_fd: int, words: list[bytes]) -> None: ...

def select(dir_fd: int, words: list[bytes]) -> list[tuple[int, int]]: ...
