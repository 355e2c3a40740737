"""The hash map of base/idmap.pxd: what is deleted leaves no gap that hides others, also around the end of the table."""

import random
from itertools import count, islice, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.probes import probe

SMALLEST = 64
KEYS = st.one_of(st.integers(0, 40), st.integers(0, (1 << 64) - 1))
CHANGES = st.lists(st.tuples(st.booleans(), KEYS), max_size=300)


@pytest.fixture
def new_map():
    return probe("leaves").IdMapProbe


def of_home(idmap, place: int):
    """Keys that the map looks for at this place first."""
    return (key for key in count(1) if idmap.home(key) == place)


def test_an_empty_map(new_map) -> None:
    idmap = new_map()
    idmap.delete(7)
    assert (idmap.get(7), len(idmap), idmap.room()) == (None, 0, 0)


@given(changes=CHANGES)
def test_against_a_dict(changes: list[tuple[bool, int]]) -> None:
    idmap, model = probe("leaves").IdMapProbe(), {}
    for value, (is_put, key) in enumerate(changes):
        if is_put:
            idmap.put(key, value)
            model[key] = value
        else:
            idmap.delete(key)
            model.pop(key, None)
        assert idmap.get(key) == model.get(key)
    assert len(idmap) == len(model)
    assert all(idmap.get(key) == value for key, value in model.items())


@pytest.mark.parametrize("place", [0, 20, SMALLEST - 2, SMALLEST - 1])
def test_deletion_in_each_order(new_map, place: int) -> None:
    """Of five keys in a row, three of one home, one of the next, one of the first; at the end of the table the row goes
    on at its beginning."""
    idmap = new_map()
    idmap.put(0, 0)
    idmap.delete(0)
    homes = (place, (place + 1) % SMALLEST, place, place, (place + 2) % SMALLEST)
    keys: list[int] = []
    for home in homes:
        keys.append(next(key for key in of_home(idmap, home) if key not in keys))
    for order in permutations(keys):
        for key in keys:
            idmap.put(key, key)
        for number, gone in enumerate(order):
            idmap.delete(gone)
            assert [idmap.get(key) for key in keys] == [key if key in order[number + 1 :] else None for key in keys]
    assert (len(idmap), idmap.room()) == (0, SMALLEST)


def test_deletion_in_a_full_table(new_map) -> None:
    """It is half full at most; all of it is one row here."""
    idmap, rng = new_map(), random.Random(1)
    idmap.put(0, 0)
    idmap.delete(0)
    keys = list(islice(of_home(idmap, SMALLEST - 5), SMALLEST // 2 - 1))
    left = dict.fromkeys(keys, 1)
    for key in keys:
        idmap.put(key, 1)
    assert idmap.room() == SMALLEST
    for key in rng.sample(keys, len(keys)):
        idmap.delete(key)
        del left[key]
        assert [key for key in keys if idmap.get(key)] == [key for key in keys if key in left]


def test_it_grows_with_what_is_in_it(new_map) -> None:
    idmap = new_map()
    for key in range(10_000):
        idmap.put(key << 12, key)
    assert len(idmap) == 10_000 and 2 * len(idmap) <= idmap.room() < 8 * len(idmap)
    assert all(idmap.get(key << 12) == key for key in range(10_000))
