"""The path of --log: placeholders, and whether the caller's side has looked at it."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.layouts import TSF_JOB_APPEND, TSF_JOB_ARRAY, TSF_JOB_TRUNCATE
from support.probes import probe

FILLED = {b"{id}": b"12", b"{label}": b"a_b", b"{date}": b"2026-01-31", b"{index}": b"7"}
PIECES = st.sampled_from([*FILLED, b"{", b"}", b"{i", b"id}", b"{ID}", b"{{id}}", b"/", b"log", b"\xff", b"%d"])


def fill(
    template: bytes,
    *,
    id: int = 12,
    label: bytes | None = b"a/b",
    index: int | None = 7,
    date: bytes = b"2026-01-31",
    now_ns: int = 0,
) -> bytes:
    return probe("leaves").filled_log_path(template, b"/home/me", id, label, index, date, now_ns)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (b"/a/log", b"/a/log"),
        (b"log", b"/home/me/log"),
        (b"", b"/home/me/"),
        (b"/x/{id}.{id}", b"/x/12.12"),
        (b"/x/{label}-{index}", b"/x/a_b-7"),
        (b"/{date}/{i{id}d}", b"/2026-01-31/{i12d}"),
        (b"/x/{id", b"/x/{id"),
        (b"/x/{other}{}", b"/x/{other}{}"),
    ],
)
def test_placeholders(template: bytes, expected: bytes) -> None:
    assert fill(template) == expected


@given(st.lists(PIECES, max_size=12))
def test_every_other_brace_stays(pieces: list[bytes]) -> None:
    template = b"/" + b"".join(pieces)
    assert fill(template) == re.sub(rb"\{(id|label|date|index)\}", lambda found: FILLED[found[0]], template)


def test_what_a_job_does_not_have() -> None:
    assert fill(b"/x/[{label}]", label=None) == b"/x/[]"
    assert fill(b"/x/{index}", index=None) == b"/x/{index}"
    assert fill(b"/{label}", label=b"///") == b"/___"
    assert fill(b"/{id}", id=(1 << 63) - 1) == b"/9223372036854775807"


@pytest.mark.parametrize(
    ("zone", "day"), [("UTC", b"1970-01-01"), ("EAST-14", b"1970-01-02"), ("WEST12", b"1969-12-31")]
)
def test_day_of_this_process_where_the_caller_told_none(monkeypatch: pytest.MonkeyPatch, zone: str, day: bytes) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert fill(b"/{date}", date=b"", now_ns=11 * 3600 * 10**9) == b"/" + day
    finally:
        monkeypatch.undo()
        time.tzset()


# ---- whether it was looked at ----


def looked_at(template: bytes, flags: int = 0, *variables: bytes) -> tuple[bool, list[bytes], bytes]:
    return probe("leaves").looked_at(template, flags, list(variables))


@pytest.mark.parametrize(
    ("template", "flags", "unchecked"),
    [
        (b"/x/log", 0, True),
        (b"/x/{id}", 0, False),  # only the start of the job can tell
        (b"/x/log", TSF_JOB_APPEND, False),
        (b"/x/log", TSF_JOB_TRUNCATE, False),
        (b"/x/log", TSF_JOB_ARRAY, False),
        (b"/x/{date}", TSF_JOB_APPEND, True),
        (b"/x/{id}{date}", 0, True),
    ],
)
def test_what_is_to_be_looked_at(template: bytes, flags: int, unchecked: bool) -> None:
    assert looked_at(template, flags, b"A=1") == (unchecked, [b"A=1"], b"")


@pytest.mark.parametrize("place", range(3))
def test_the_variable_is_taken_out(place: int) -> None:
    variables = [b"A=1", b"TSFAST_LOG_CHECK=no"]
    variables.insert(place, b"TSFAST_LOG_CHECKED=2026-01-31")
    assert looked_at(b"/{date}", 0, *variables) == (False, [b"A=1", b"TSFAST_LOG_CHECK=no"], b"2026-01-31")


@pytest.mark.parametrize("day", [b"", b"2026-01-3", b"2026-01-311", b"2026/01/31", b"../../etc/", b"2026-0a-31"])
def test_a_day_that_is_none_is_not_used(day: bytes) -> None:
    assert looked_at(b"/{date}", 0, b"TSFAST_LOG_CHECKED=" + day) == (False, [], b"")
