from collections.abc import Callable

from tsfast._table import TableError as TableError

def write_list(dir_fd: int, format: int, columns: int, colour: bool, write: Callable[[bytes], object]) -> None: ...
