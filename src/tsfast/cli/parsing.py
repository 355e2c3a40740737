"""Parses the options of the commands of `tsfast` by the table in `commands`."""

import argparse
import os
from collections.abc import Callable
from typing import NoReturn

from tsfast.base.text import as_line
from tsfast.cli.commands import COMMANDS

WRONG_WORDS = 255


def seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number <= 86400:
        raise argparse.ArgumentTypeError(f"'{text}' is not a time in seconds (more than 0, up to 86400)")
    return number


def event_number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) < 1 << 63:
        raise argparse.ArgumentTypeError(f"'{text}' is not the number of an event (1 or more)")
    return int(text)


READERS: dict[str, Callable[[str], object]] = {
    "S": seconds,
    "SEQ": event_number,
    "NUM": str,
    "SIZE": str,
}  # by the operand


class Parser(argparse.ArgumentParser):
    """Reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        os.write(2, as_line(f"tsfast: {message} (`{self.prog} -h` lists the options)"))
        self.exit(WRONG_WORDS)


def parse(name: str, words: list[str]) -> argparse.Namespace | int:
    """The options of a command, or the exit code after an error message or the help."""
    command = COMMANDS[name]
    parser = Parser(f"tsfast {name}", description=f"{command.help[:1].upper()}{command.help[1:]}.")
    group = parser.add_mutually_exclusive_group() if command.exclusive else parser
    for one in command.options:
        if one.operand:
            read = READERS[one.operand]
            group.add_argument(f"--{one.name}", type=read, default=one.default, metavar=one.operand, help=one.help)
        else:
            group.add_argument(f"--{one.name}", action="store_true", help=one.help)
    try:
        return parser.parse_args(words)
    except SystemExit as end:
        return WRONG_WORDS if end.code else 0
