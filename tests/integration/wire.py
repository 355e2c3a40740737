"""The protocol between `ts` and the server, spoken by the tests themselves."""

import contextlib
import socket
import struct

from integration.spool_harness import Queue

VERSION, REQUEST, FRAME_MAX = 0x74730001, 1, 8 << 20


def frame(kind: int, payload: bytes = b"", version: int = VERSION, length: int | None = None) -> bytes:
    return struct.pack("=IIII", version, kind, len(payload) if length is None else length, 0) + payload


def request(*words: str, cwd: str = "/", token: int = 0, env: tuple[str, ...] = ()) -> bytes:
    argv, variables = (b"".join(text.encode() + b"\0" for text in texts) for texts in (words, env))
    place = cwd.encode() + b"\0"
    head = struct.pack(
        "=2Q7IiII32Q", token, token, len(words), len(argv), len(place), len(env), len(variables), 0, 0o22, 0, 0, 0,
        *[(1 << 64) - 1] * 32,
    )  # fmt: skip
    return frame(REQUEST, head + argv + place + variables)


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
