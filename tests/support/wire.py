"""The protocol between `ts` and the server, spoken by the tests themselves."""

import contextlib
import resource
import socket
import struct

from support.queues import Queue

VERSION, REQUEST, BATCH, FRAME_MAX = 0x74730001, 1, 5, 8 << 20
LIMITS = [
    value % (1 << 64) for kind in range(16) for value in resource.getrlimit(kind)
]  # as the queue's server has them


def frame(kind: int, payload: bytes = b"", version: int = VERSION, length: int | None = None) -> bytes:
    return struct.pack("=IIII", version, kind, len(payload) if length is None else length, 0) + payload


def context(cwd: str = "/", token: int = 0, env: tuple[str, ...] = (), words: tuple[str, ...] = ()) -> bytes:
    """A struct tsf_request and its strings."""
    argv, variables = (b"".join(text.encode() + b"\0" for text in texts) for texts in (words, env))
    place = cwd.encode() + b"\0"
    head = struct.pack(
        "=2Q7IiII32Q", token, token << 8, len(words), len(argv), len(place), len(env), len(variables), 0, 0o22, 0, 0, 0,
        *LIMITS,
    )  # fmt: skip
    return head + argv + place + variables


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
    payload += struct.pack("=QIIII", place, len(jobs) if count is None else count, len(parts), flags, 0)
    payload += b"".join(struct.pack("=QQ", *part) for part in parts)
    for words, cwd, changes in jobs:
        texts = [b"".join(text.encode() + b"\0" for text in group) for group in (words, (cwd,) if cwd else (), changes)]
        sizes = [len(text) for text in texts]
        payload += struct.pack("=5I", len(words), sizes[0], sizes[1], len(changes), sizes[2]) + b"".join(texts)
    return frame(BATCH, payload + bytes(-len(payload) % 8))


def request(*words: str, cwd: str = "/", token: int = 0, env: tuple[str, ...] = ()) -> bytes:
    return frame(REQUEST, context(cwd, token, env, words))


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
