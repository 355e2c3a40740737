"""Frames that are nearly right: seeds of each kind of message, and seeded changes of them."""

from __future__ import annotations

import random
import struct

from support.layouts import tsf_frame
from support.wire import (
    DESCRIPTORS,
    FRAME_MAX,
    HEAD,
    REQUEST,
    SIGNAL,
    UNKNOWN,
    VERSION,
    batch,
    code,
    frame,
    request,
    watch,
)

# No command of a seed can be found on this path; changes of it are as harmless.
ENVIRONMENT = ("PATH=/nonexistent", "HOME=/nonexistent", "TERM=xterm", "TS_ENV_DROP=SECRET*,[a-c]?", "SECRET=x")
COMMANDS = [
    ("true",),
    ("-L", "label", "true", "a b", "\u20ac\x01"),
    ("-n", "-N", "2", "-D", "0,1", "-W", "1", "true"),
    ("-nf", "true"),
    ("-f", "cat"),
    ("-z", "-E", "-O", "name", "true"),
    ("--log", "log{id}{label}", "--append", "true"),
    ("-G", "1", "--vram", "2G", "true"),
    ("-g", "0,1", "true"),
    ("-l",),
    ("-M", "json"),
    ("-M", "tab"),
    ("-s", "1"),
    ("-i", "0"),
    ("-F", "0"),
    ("-c", "1"),
    ("-t", "1"),
    ("-w", "0"),
    ("--wait-all",),
    ("-k", "7"),
    ("-r", "1-9,12"),
    ("--cancel", "2"),
    ("-u", "3"),
    ("-U", "3-4"),
    ("-S", "1"),
    ("-C",),
    ("-R",),
    ("-q",),
    ("--why", "1"),
    ("--getenv", "HOME"),
    ("--setenv", "NAME=value"),
    ("-h",),
    ("-V",),
]
NUMBERS = [0, 1, 2, 55, 56, 57, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, FRAME_MAX, FRAME_MAX + 1]
NUMBERS += [0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF]


def seeds() -> list[bytes]:
    messages = [request(*words, env=ENVIRONMENT, token=number) for number, words in enumerate(COMMANDS)]
    messages += [frame(DESCRIPTORS), frame(SIGNAL, code(15)), frame(UNKNOWN, b"x" * 40), frame(REQUEST), b""]
    messages.append(request("-nf", "true", env=ENVIRONMENT) + frame(DESCRIPTORS) + frame(SIGNAL, code(2)))
    messages.append(frame(REQUEST, b"\0" * 600, version=VERSION + 1))
    messages += [watch(since) for since in (0, 1, (1 << 64) - 1)]
    messages.append(watch() + request("-l"))
    jobs = [
        (("true",), "", ()),
        (("-L", "x", "-D", "@0", "--", "true", "-x"), "/tmp", ("A=1", "SECRET=x", "HOME")),
        (("-W", "@0,@1", "-d", "-N", "2", "true"), "/", ("TS_ONFINISH=/bin/false",)),
        (("-G", "1", "--vram", "1G", "true"), "", ()),
    ]
    messages.append(batch(*jobs, token=1000, env=ENVIRONMENT))
    messages.append(batch(*jobs[:2], token=1001, env=ENVIRONMENT, flags=1) + batch(jobs[0], token=1002))
    later = ((("-D", "@3,@1", "true"), "", ()),)
    messages.append(batch(*later, token=1003, env=ENVIRONMENT, place=7, parts=((0, 0), (2, 1))))
    messages.append(batch(*[jobs[0]] * 300, token=1004, env=ENVIRONMENT))
    return messages


def changed(data: bytearray, others: list[bytes], rng: random.Random) -> bytearray:
    """With one change."""
    size = len(data)
    at = rng.randrange(size) if size else 0
    kind = rng.randrange(9)
    if kind == 0 and size:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1 and size:
        data[at] = rng.randrange(256)
    elif kind == 2 and size >= 16:  # a number of the head, or what lies where one could be
        at = rng.randrange(min(size - 3, 76) // 4 + 1) * 4 if rng.randrange(4) else rng.randrange(size - 3)
        struct.pack_into("=I", data, min(at, size - 4), rng.choice(NUMBERS))
    elif kind == 3 and size >= 16:  # a number that is off by a little
        at = min(rng.randrange(19) * 4, size - 4)
        number = struct.unpack_from("=I", data, at)[0]
        struct.pack_into("=I", data, at, (number + rng.randint(-4, 4)) & 0xFFFFFFFF)
    elif kind == 4:
        del data[at:]
    elif kind == 5:
        data[at:at] = rng.randbytes(rng.randrange(1, 40))
    elif kind == 6:
        del data[at : at + rng.randrange(1, 40)]
    elif kind == 7:
        other = rng.choice(others)
        data[at:] = other[min(at, len(other)) :]
    else:
        data += rng.choice(others)
    return data


def mutated(corpus: list[bytes], rng: random.Random) -> bytes:
    data = bytearray(rng.choice(corpus))
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        data = changed(data, corpus, rng)
    if rng.randrange(3) == 0 and len(data) >= HEAD:  # so that the change gets past the first look at the length
        tsf_frame.from_buffer(data).length = len(data) - HEAD
    return bytes(data[: 1 << 20])
