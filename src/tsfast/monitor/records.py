"""The records of native/gpus.h: 256 bytes each, so that a write into a pipe is whole or missing."""

import struct
from dataclasses import dataclass

ASKING = 1
DEVICE = 2
ROUND = 3
FAILED = 4

VISIBLE = 1
ANSWERS = 2
FOREIGN = 4
EXCLUSIVE = 8
PROHIBITED = 16
MIG = 32
DIVIDED = 64
BUSY = 128
UNSEEN = 256

NONE = 0xFFFFFFFF
MOST = 1024

_LAYOUT = struct.Struct("<IIIiIIiIQQQ64s24s48s64s")
SIZE = _LAYOUT.size


@dataclass(slots=True)
class Record:
    """struct tsf_gpu, which documents each field."""

    kind: int
    index: int = NONE
    flags: int = 0
    numa: int = -1
    link: int = 0
    foreign_uid: int = NONE
    foreign_pid: int = 0
    measured_ns: int = 0
    memory_total: int = 0
    memory_free: int = 0
    uuid: str = ""
    bus: str = ""
    name: str = ""
    why: str = ""


def _text(text: str, size: int) -> bytes:
    """UTF-8, cut so that the NUL fits and the last character is complete."""
    return text.encode("utf-8", "replace")[: size - 1].decode("utf-8", "ignore").encode()


def pack(record: Record) -> bytes:
    return _LAYOUT.pack(
        record.kind,
        record.index,
        record.flags,
        record.numa,
        record.link,
        record.foreign_uid,
        record.foreign_pid,
        0,
        record.measured_ns,
        record.memory_total,
        record.memory_free,
        _text(record.uuid, 64),
        _text(record.bus, 24),
        _text(record.name, 48),
        _text(record.why, 64),
    )


def unpack(data: bytes) -> Record:
    """Raises struct.error if it is not one record."""
    fields = _LAYOUT.unpack(data)
    texts = [text.split(b"\0", 1)[0].decode("utf-8", "replace") for text in fields[11:]]
    return Record(*fields[:7], *fields[8:11], *texts)
