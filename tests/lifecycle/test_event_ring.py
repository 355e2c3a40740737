"""The ring of the newest changes: over its end, nothing is lost that it says it has."""

import pytest

from support.layouts import TSF_FINISHED, TSF_QUEUED
from support.probes import probe


@pytest.fixture
def ring():
    return probe("leaves").RingProbe()


@pytest.fixture
def kept() -> int:
    return probe("leaves").KEPT


def fill(ring, number: int) -> None:
    """Until so many have been told. The job is how many there were before."""
    for id in range(ring.last() - ring.base(), number):
        ring.add(id, TSF_FINISHED if id % 2 else TSF_QUEUED)


def expected(ring, since: int, number: int) -> list[tuple[int, int, int]]:
    seqs = range(since + 1, min(since + number, ring.last()) + 1)
    ids = [seq - ring.base() - 1 for seq in seqs]
    return [(seq, id, TSF_FINISHED if id % 2 else TSF_QUEUED) for seq, id in zip(seqs, ids, strict=True)]


def test_an_empty_ring(ring) -> None:
    assert ring.lost() == ring.last() == ring.base()
    assert ring.copy(ring.last(), 10) == []


def test_before_it_is_full(ring, kept: int) -> None:
    fill(ring, 100)
    assert ring.lost() == ring.base()
    assert ring.copy(ring.base(), 1000) == expected(ring, ring.base(), 1000)
    assert ring.copy(ring.base() + 90, 5) == expected(ring, ring.base() + 90, 5)
    fill(ring, kept)
    assert ring.lost() == ring.base()
    assert ring.copy(ring.base(), 1) == expected(ring, ring.base(), 1)
    fill(ring, kept + 1)
    assert ring.lost() == ring.base() + 1


@pytest.mark.parametrize("more", [1, 1000, 65_536, 100_000])
def test_over_its_end(ring, kept: int, more: int) -> None:
    """All that is kept, in one piece and in pieces; and from each place around the end of the ring's memory."""
    fill(ring, kept + more)
    lost, last = ring.lost(), ring.last()
    assert (lost, last) == (ring.base() + more, ring.base() + kept + more)
    assert ring.copy(lost, 2 * kept) == expected(ring, lost, kept)
    for room in (1009, kept - 1, kept):
        since, told = lost, []
        while since < last:
            told += ring.copy(since, room)
            since = told[-1][0]
        assert told == expected(ring, lost, kept)
    end = lost + kept - 1 - (lost + kept - 1) % kept  # the number whose place is the first
    for since in range(max(lost, end - 4), min(last, end + 4)):
        for room in range(9):
            assert ring.copy(since, room) == expected(ring, since, room)
