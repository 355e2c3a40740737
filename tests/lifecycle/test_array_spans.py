"""Which jobs belong to which array, what `5` and `5[7]` mean, and the words of an element; without a server."""

import random

import pytest

from support.probes import probe


@pytest.fixture
def arrays():
    """Jobs 0, 1 to 4 (elements 10 to 13), 5, 6 (an array of one), 7 to 9 (elements 0 to 2)."""
    arrays = probe("leaves").ArraysProbe()
    arrays.job(0)
    arrays.array(1, 4, 10)
    arrays.job(5)
    arrays.array(6, 1, 3)
    arrays.array(7, 3, 0)
    return arrays


def test_array_of_a_job(arrays) -> None:
    spans = {1: (1, 4, 10), 6: (6, 1, 3), 7: (7, 3, 0)}
    of = [None, 1, 1, 1, 1, None, 6, 7, 7, 7, None]
    assert [arrays.of(id) for id in range(11)] == [spans.get(first) for first in of]
    assert arrays.of((1 << 64) - 1) is None


def test_the_last_array_is_not_added_twice(arrays) -> None:
    arrays.array(7, 3, 0, jobs=False)
    assert arrays.spans() == 3


@pytest.mark.parametrize(
    ("words", "ranges", "id"),
    [
        (["-s", "1"], [(1, 4)], None),
        (["-w", "5"], [(5, 5)], 5),
        (["-s", "2"], [(2, 2)], 2),
        (["-s", "1[11]"], [(2, 2)], 2),
        (["-s", "1[10-12]"], [(1, 3)], None),
        (["-s", "6"], [(6, 6)], 6),
        (["-r", "0,1,7[2]"], [(0, 0), (1, 4), (9, 9)], None),
        (["--cancel", "0-3"], [(0, 3)], None),
        (["-s"], [(7, 9)], None),
        (["-w"], [(7, 9)], None),
        (["-c", "1"], [(1, 4)], None),
        (["-o"], [], None),
    ],
)
def test_jobs_that_are_meant(arrays, words: list[str], ranges: list[tuple[int, int]], id: int | None) -> None:
    assert arrays.resolve(*words) == (ranges, id)


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("5[1]", "job 5 is not an array"),
        ("2[11]", "job 2 is not an array"),
        ("1[9]", "array 1 has the elements 10 to 13"),
        ("1[12-14]", "array 1 has the elements 10 to 13"),
        ("7[3]", "array 7 has the elements 0 to 2"),
    ],
)
def test_elements_that_there_are_not(arrays, word: str, part: str) -> None:
    with pytest.raises(LookupError, match=part):
        arrays.resolve("-s", word)


def test_dependencies_on_an_array_are_on_all_its_elements(arrays) -> None:
    assert arrays.expand([0, 1, 8, 6, 5]) == [0, 1, 2, 3, 4, 8, 6, 5]
    assert arrays.expand([7, 7]) == [7, 8, 9, 7, 8, 9]
    assert arrays.expand([2, 99]) == [2, 99]
    assert arrays.expand([]) == []


def test_arrays_that_are_forgotten_make_room() -> None:
    """As long as one element is known the array is; the others make room for new ones, however many there have been."""
    arrays, rng = probe("leaves").ArraysProbe(), random.Random(1)
    kept = set()
    for first in range(1, 30_000, 3):
        arrays.array(first, 3)
        if rng.random() < 0.002:
            kept.add(first)
        for id in range(first, first + 3 - (first in kept)):
            arrays.remove(id)
    assert 5 < len(kept) < 100 and all(arrays.of(first + 2) == (first, 3, 1) for first in kept)
    assert arrays.spans() < 4 * len(kept) + 16


@pytest.mark.parametrize(
    ("words", "index", "expected"),
    [
        ([b"run", b"{}"], 7, [b"run", b"7"]),
        ([b"x{}y{}", b"{}{}"], 12, [b"x12y12", b"1212"]),
        ([b"{", b"}", b"{ }", b"{{}}"], 3, [b"{", b"}", b"{ }", b"{3}"]),
        ([b"", b"{}", b""], 4294967295, [b"", b"4294967295", b""]),
    ],
)
def test_words_of_an_element(words: list[bytes], index: int, expected: list[bytes]) -> None:
    assert probe("leaves").words_of_element(words, index) == expected + words


def test_variables_of_an_element() -> None:
    assert probe("leaves").variables_of_element(5, 7) == [b"TS_ARRAY_ID=5", b"TS_ARRAY_INDEX=7"]
