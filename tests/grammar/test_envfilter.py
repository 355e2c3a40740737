"""The patterns of TS_ENV_KEEP and TS_ENV_DROP, against Python's fnmatch."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsfast.grammar.envfilter import matches

PIECES = st.sampled_from(["*", "?", "[", "]", "!", "-", "a", "b", "B", "_", "[a-b]", "[!a]", "[]a]", "[!]]", "[b-a]"])


@given(st.lists(PIECES, min_size=1, max_size=9).map("".join), st.text("abB_[]-!", max_size=9))
def test_one_pattern_is_that_of_fnmatch(pattern: str, name: str) -> None:
    assert matches(pattern.encode(), name.encode()) == fnmatch.fnmatchcase(name, pattern), (pattern, name)


@given(
    st.lists(st.text("ab*?", min_size=1, max_size=4), max_size=4), st.text("ab", max_size=5), st.text(" ", max_size=2)
)
def test_several_patterns(patterns: list[str], name: str, blank: str) -> None:
    listed = f"{blank},{blank}".join(patterns)
    assert matches(listed.encode(), name.encode()) == any(fnmatch.fnmatchcase(name, one) for one in patterns)


@given(st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"")), st.binary(max_size=40))
def test_any_bytes(patterns: bytes, name: bytes) -> None:
    assert matches(patterns, name) in (True, False)


@pytest.mark.parametrize("patterns", [b"", b",", b" , ,,"])
def test_no_pattern_matches_nothing(patterns: bytes) -> None:
    assert not matches(patterns, b"") and not matches(patterns, b"A")


def test_many_stars_are_no_trouble() -> None:
    """Going back to each star would take longer than any test may."""
    assert not matches(b"*a" * 50 + b"b", b"a" * 2000)
