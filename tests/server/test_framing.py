"""Frames in pieces: wherever a frame is cut, the server reads the same one."""

import itertools
import socket
import struct
from collections.abc import Iterator

import pytest

from support.queues import Queue
from support.wire import BATCH, batch, connect, drained, frame, request

OUT, EXIT, ADDED = 16, 18, 26
EXIT_0 = frame(EXIT, bytes(4))


class Pieces:
    """Sends bytes in pieces, and waits after each one until the server has read it."""

    def __init__(self, queue: Queue) -> None:
        queue.get("-l")
        self.queue = queue

    def send(self, *pieces: bytes) -> bytes:
        with connect(self.queue) as client:
            for piece in pieces:
                client.sendall(piece)
                self.pass_a_turn()
            return drained(client)

    def pass_a_turn(self) -> None:
        """The reply to a later client comes after a turn of the loop, in which all that has come was read."""
        with connect(self.queue) as client:
            client.sendall(request("-R"))
            assert drained(client).endswith(EXIT_0)


@pytest.fixture
def pieces(queue: Queue) -> Iterator[Pieces]:
    return Pieces(queue)


def test_a_request_cut_at_every_byte(pieces: Pieces) -> None:
    whole = request("-S", cwd="/a/directory", env=("NAME=value",))
    reply = pieces.send(whole)
    assert reply == frame(OUT, b"1\n") + EXIT_0
    for at in range(1, len(whole)):
        assert pieces.send(whole[:at], whole[at:]) == reply, at


def test_a_batch_cut_at_every_byte(queue: Queue, pieces: Pieces) -> None:
    """Its idempotency key makes each later copy the same batch."""
    whole = batch((("true",), "/", ()), (("true", "x"), "", ("NAME=value",)), token=5)
    with connect(queue) as client:  # which stays open for more of them
        for at in range(1, len(whole)):
            client.sendall(whole[:at])
            pieces.pass_a_turn()
            client.sendall(whole[at:])
            assert client.recv(4096) == frame(ADDED, struct.pack("=QII", 0, 2, 0)), at
    assert queue.ids() == [0, 1]


def test_three_pieces_around_the_head_of_a_frame(pieces: Pieces) -> None:
    whole = request("-S")
    for first, second in itertools.combinations(range(1, 18), 2):
        assert pieces.send(whole[:first], whole[first:second], whole[second:]).startswith(frame(OUT, b"1\n"))


def test_what_follows_a_request_is_dropped(pieces: Pieces) -> None:
    whole = request("-S")
    for more in (b"x", whole[:20], whole, frame(BATCH)):
        assert pieces.send(whole + more) == frame(OUT, b"1\n") + EXIT_0


def test_a_frame_of_more_than_one_read(queue: Queue, pieces: Pieces) -> None:
    word = "x" * 300_000
    whole = request("-L", "large", "true", word)
    size = len(whole) // 4
    assert pieces.send(*(whole[i : i + size] for i in range(0, len(whole), size))).startswith(frame(OUT, b"0\n"))
    assert queue.get("-F", 0) == f"true {word}"


def test_a_client_that_leaves_within_a_frame(queue: Queue, pieces: Pieces) -> None:
    whole = request("true")
    for at in (1, 15, 16, 17, len(whole) - 1):
        client = connect(queue)
        client.sendall(whole[:at])
        pieces.pass_a_turn()
        client.shutdown(socket.SHUT_WR)
        assert drained(client) == b""
        client.close()
    assert queue.ids() == []
