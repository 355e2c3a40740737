"""The protocol between `ts` and the server (native/wire.h), spoken by the tests themselves."""

import contextlib
import ctypes
import os
import resource
import socket
from collections.abc import Iterable

from support import layouts
from support.queues import Queue

VERSION, FRAME_MAX = layouts.TSF_WIRE_VERSION, layouts.TSF_FRAME_MAX
VERSION1 = layouts.TSF_WIRE_VERSION1  # of the first release
HEAD = ctypes.sizeof(layouts.tsf_frame)
HEARS_ALIVE, SHOWS_MOMENTS = layouts.TSF_HEARS_ALIVE, layouts.TSF_SHOWS_MOMENTS
# Of clients
REQUEST, DESCRIPTORS, SIGNAL = layouts.TSF_FRAME_REQUEST, layouts.TSF_FRAME_DESCRIPTORS, layouts.TSF_FRAME_SIGNAL
TAKE_OVER, BATCH, WATCH = layouts.TSF_FRAME_TAKE_OVER, layouts.TSF_FRAME_BATCH, layouts.TSF_FRAME_WATCH
# Of servers
OUT, ERR, EXEC = layouts.TSF_FRAME_OUT, layouts.TSF_FRAME_ERR, layouts.TSF_FRAME_EXEC
EXIT, EXIT_AT_CLOSE = layouts.TSF_FRAME_EXIT, layouts.TSF_FRAME_EXIT_AT_CLOSE
SEND_DESCRIPTORS, FOLLOW, ENDED = (
    layouts.TSF_FRAME_SEND_DESCRIPTORS, layouts.TSF_FRAME_FOLLOW, layouts.TSF_FRAME_ENDED,
)  # fmt: skip
PROGRESS, GIVE_WAY, ALIVE = layouts.TSF_FRAME_PROGRESS, layouts.TSF_FRAME_GIVE_WAY, layouts.TSF_FRAME_ALIVE
ADDED, REFUSED = layouts.TSF_FRAME_ADDED, layouts.TSF_FRAME_REFUSED
EVENTS, MOMENT, COUNTED = layouts.TSF_FRAME_EVENTS, layouts.TSF_FRAME_MOMENT, layouts.TSF_FRAME_COUNTED
UNKNOWN = 99

LIMITS = [resource.getrlimit(kind) for kind in range(layouts.TSF_LIMITS)]  # as the queue's server has them


def strings(texts: Iterable[str | bytes]) -> bytes:
    return b"".join(os.fsencode(text) + b"\0" for text in texts)


# ---- frames ----


def frame(
    kind: int, payload: bytes = b"", *, version: int = VERSION, length: int | None = None, release: int = 0
) -> bytes:
    return bytes(layouts.tsf_frame(version, kind, len(payload) if length is None else length, release)) + payload


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """Types and payloads of the whole frames at the beginning of the data."""
    found, at = [], 0
    while len(data) - at >= HEAD:
        head = layouts.tsf_frame.from_buffer_copy(data, at)
        if len(data) - at - HEAD < head.length:
            break
        found.append((head.type, data[at + HEAD : at + HEAD + head.length]))
        at += HEAD + head.length
    return found


def code(number: int) -> bytes:
    """The payload of EXIT, ENDED and SIGNAL."""
    return bytes(layouts.tsf_code(number))


# ---- of clients ----


def context(
    cwd: str = "/", token: int = 0, env: tuple[str, ...] = (), words: tuple[str, ...] = (), tty: int = 0
) -> bytes:
    """A struct tsf_request and its strings."""
    argv, place, variables = strings(words), strings([cwd]), strings(env)
    head = layouts.tsf_request((token, token << 8), len(words), len(argv), len(place), len(env), len(variables))
    head.umask, head.tty = 0o22, tty
    for kind, pair in enumerate(LIMITS):
        head.limits[kind][:] = pair
    return bytes(head) + argv + place + variables


def request(
    *words: str, cwd: str = "/", token: int = 0, env: tuple[str, ...] = (), tty: int = 0, release: int = 0
) -> bytes:
    return frame(REQUEST, context(cwd, token, env, words, tty), release=release)


def batch(
    *jobs: tuple[tuple[str, ...], str, tuple[str, ...]],
    token: int = 0,
    env: tuple[str, ...] = (),
    place: int = 0,
    parts: tuple[tuple[int, int], ...] = (),
    flags: int = 0,
    count: int | None = None,
) -> bytes:
    """A BATCH frame. jobs: words, directory (empty: the caller's), changes of the environment; parts: (place, first
    id) of earlier frames."""
    payload = context(token=token, env=env)
    payload += bytes(layouts.tsf_batch(place, len(jobs) if count is None else count, len(parts), flags))
    payload += b"".join(bytes(layouts.tsf_batch_part(*part)) for part in parts)
    for words, cwd, changes in jobs:
        texts = [strings(group) for group in (words, [cwd] if cwd else [], changes)]
        sizes = [len(text) for text in texts]
        payload += bytes(layouts.tsf_batch_job(len(words), sizes[0], sizes[1], len(changes), sizes[2]))
        payload += b"".join(texts)
    return frame(BATCH, payload + bytes(-len(payload) % 8))


def watch(since: int = 0) -> bytes:
    return frame(WATCH, bytes(layouts.tsf_watch(since)))


# ---- of servers ----


def added(first: int, count: int) -> tuple[int, bytes]:
    """An ADDED frame as frames() has it."""
    return ADDED, bytes(layouts.tsf_added(first, count))


def refusal(payload: bytes) -> tuple[int, int]:
    """Place and reason of a REFUSED frame."""
    found = layouts.tsf_refused.from_buffer_copy(payload)
    return found.place, found.reason


# ---- connections ----


def connect(queue: Queue) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(str(queue.socket))
    return client


def drained(client: socket.socket) -> bytes:
    data = b""
    try:
        while got := client.recv(65536):
            data += got
    except ConnectionResetError:
        pass
    return data


def send(client: socket.socket, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # closed at the first wrong byte
        client.sendall(data)
