"""A job as a program describes it, and the equivalent words of the command line.

The command line alone defines what a job can have (docs/cli.md): every field here is one of its options.
"""

import json
import operator
import os
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, TypeAlias, TypedDict, Unpack

Word: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Ids: TypeAlias = int | str | Sequence[int | str]
# Words of a command line of ts, directory, changes of variables.
Encoded: TypeAlias = tuple[Sequence[Word], Word | None, Sequence[Word] | None]


class Options(TypedDict, total=False):
    """The options of a job. What is not given is as with `ts`."""

    gpus: float | str  #: number of GPUs, or a share of one: 0.5
    vram: int | str  #: memory of each GPU: bytes, or a text like "20G"
    gpu_ids: Sequence[int | str]  #: these GPUs, by index or UUID, free or not
    slots: int  #: number of slots it takes: 1
    #: ids of jobs that must have ended before it starts; "@N": the Nth job of its batch, from 0
    after: Ids
    after_ok: Ids  #: likewise, and they must have succeeded
    after_last: bool  #: it starts after the job queued before it
    label: str  #: shown in the list
    env: Mapping[str, str | None]  #: variables in addition to the program's, or (None) removed from them
    cwd: str | os.PathLike[str]  #: its directory, instead of the program's
    output: str | os.PathLike[str]  #: exactly this output file; {id}, {label} and {date} are filled in
    append: bool  #: with output: append to an existing file
    truncate: bool  #: with output: empty an existing file
    name: str  #: instead of output: the beginning of the name of a file in the queue's directory
    split_stderr: bool  #: stderr in a second file, whose name ends in ".e"
    gzip: bool  #: compress the output
    store_output: bool  #: False: discard the output
    mail: bool  #: send a mail when it has ended


class Job:
    """A command and its options. argv: a sequence of str, bytes or paths."""

    __slots__ = ("argv", "options")

    def __init__(self, argv: Sequence[Word], **options: Unpack[Options]):
        self.argv = argv
        self.options = options

    def __repr__(self) -> str:
        return f"Job({', '.join([repr(self.argv), *(f'{name}={value!r}' for name, value in self.options.items())])})"


def _wrong(name: str, value: object, wanted: str) -> TypeError:
    return TypeError(f"{name} is {type(value).__name__}, not {wanted}: {value!r}")


def _switch(word: str, default: bool) -> Callable[[list[Word], str, Any], None]:
    def put(words: list[Word], name: str, value: Any) -> None:
        if value is not True and value is not False:
            raise _wrong(name, value, "bool")
        if value is not default:
            words.append(word)

    return put


def _text(word: str) -> Callable[[list[Word], str, Any], None]:
    def put(words: list[Word], name: str, value: Any) -> None:
        if not isinstance(value, str):
            raise _wrong(name, value, "str")
        words += (word, value)

    return put


def _ids(word: str) -> Callable[[list[Word], str, Any], None]:
    def text_of(name: str, id: object) -> str:
        if isinstance(id, str):
            return id
        if isinstance(id, bool) or not hasattr(id, "__index__"):
            raise _wrong(name, id, "a job id, '@N', or a list of them")
        return str(id.__index__())

    def put(words: list[Word], name: str, value: Any) -> None:
        several = value if isinstance(value, Sequence | Set) and not isinstance(value, (str, bytes)) else None
        if several is None and getattr(value, "ndim", False):
            several = value.tolist()  # an array of numpy
        ids = [text_of(name, value)] if several is None else [text_of(name, id) for id in several]
        if ids:
            words += (word, ",".join(ids))

    return put


def _whole(name: str, value: Any, wanted: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or getattr(value, "ndim", False):
        raise _wrong(name, value, wanted)
    return operator.index(value)


def _slots(words: list[Word], name: str, value: Any) -> None:
    words += ("-N", str(_whole(name, value, "int")))


def _gpus(words: list[Word], name: str, value: Any) -> None:
    if isinstance(value, bool) or not (isinstance(value, str) or hasattr(value, "__float__")):
        raise _wrong(name, value, "a number")
    words += ("-G", value if isinstance(value, str) else f"{float(value):.15g}")


def _vram(words: list[Word], name: str, value: Any) -> None:
    if isinstance(value, str):
        words += ("--vram", value)
    else:
        words += ("--vram", f"{-(-_whole(name, value, 'a number of bytes or a text like 20G') // 1024)}K")


def _gpu_ids(words: list[Word], name: str, value: Any) -> None:
    if getattr(value, "ndim", False):
        value = value.tolist()  # an array of numpy
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise _wrong(name, value, "a list of indices and UUIDs")
    words += ("-g", ",".join(str(gpu) for gpu in value))


def _output(words: list[Word], name: str, value: Any) -> None:
    if not isinstance(value, (str, os.PathLike)):
        raise _wrong(name, value, "a path")
    words += ("--log", os.fspath(value))


_PUT: dict[str, Callable[[list[Word], str, Any], None]] = {
    "gpus": _gpus,
    "vram": _vram,
    "gpu_ids": _gpu_ids,
    "slots": _slots,
    "after": _ids("-D"),
    "after_ok": _ids("-W"),
    "after_last": _switch("-d", False),
    "label": _text("-L"),
    "output": _output,
    "append": _switch("--append", False),
    "truncate": _switch("--truncate", False),
    "name": _text("-O"),
    "split_stderr": _switch("-E", False),
    "gzip": _switch("-z", False),
    "store_output": _switch("-n", True),
    "mail": _switch("-m", False),
}


def _directory(value: Any) -> str:
    if not isinstance(value, (str, os.PathLike)):
        raise _wrong("cwd", value, "a path")
    path = os.fspath(value)
    if not isinstance(path, str):
        raise _wrong("cwd", value, "a path of str")
    try:
        return os.path.abspath(path)
    except OSError:
        raise ValueError(f"cwd is {path!r}, relative to a directory that is gone") from None


def _changes(value: Any) -> list[Word]:
    if not isinstance(value, Mapping):
        raise _wrong("env", value, "a mapping of names to texts or None")
    changes: list[Word] = []
    for name, text in value.items():
        if not isinstance(name, str) or not isinstance(text, str | None):
            raise TypeError(f"env has {name!r}: {text!r}; names and values are str, or None to unset one")
        if not name or "=" in name:
            raise ValueError(f"env has {name!r}, which is not the name of a variable")
        changes.append(name if text is None else f"{name}={text}")
    return changes


def _encoded(argv: Any, options: Mapping[str, Any]) -> Encoded:
    words: list[Word] = []
    cwd = env = None
    for name, value in options.items():
        put = _PUT.get(name)
        if value is None:
            continue
        if put is not None:
            put(words, name, value)
        elif name == "cwd":
            cwd = _directory(value)
        elif name == "env":
            env = _changes(value)
        elif name != "argv":
            raise ValueError(
                f"{name!r} is not a field of a job; the fields are argv, {', '.join(sorted([*_PUT, 'cwd', 'env']))}"
            )
    if isinstance(argv, (str, bytes)) or not isinstance(argv, Sequence):
        raise TypeError(f"argv is {type(argv).__name__}, not a list of words (see shlex.split): {argv!r}")
    words.append("--")
    words += argv
    return words, cwd, env


def encoded(job: object) -> Encoded:
    """From a Job, a mapping with its fields, or a sequence of words. Raises TypeError, ValueError."""
    if isinstance(job, Job):
        return _encoded(job.argv, job.options)
    if isinstance(job, Mapping):
        if "argv" not in job:
            raise ValueError("a job needs the field 'argv'")
        return _encoded(job["argv"], job)
    if isinstance(job, Sequence) and not isinstance(job, (str, bytes)):
        return _encoded(job, {})
    raise TypeError(f"a job is a list of words, a Job or a mapping with its fields, not {type(job).__name__}: {job!r}")


def from_json(line: bytes) -> Encoded:
    """From a line of JSON: an object with the fields of a job. Raises ValueError, TypeError."""
    try:
        job = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("it is not JSON of a job: it is nested too deeply") from None
    argv = job.get("argv") if isinstance(job, dict) else None
    if not isinstance(argv, list) or not all(isinstance(word, str) for word in argv):
        raise ValueError("'argv' must be a list of strings")
    return encoded(job)
