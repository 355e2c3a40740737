"""Durations and moments as people type them."""

import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tsfast.grammar.times import duration, moment

NOW = datetime(2026, 11, 30, 15, 30, 20)
HOUR, DAY = 3600, 86400


@pytest.fixture(autouse=True, params=["UTC", "Europe/Berlin", "America/New_York"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def ns(when: datetime) -> int:
    return int(when.timestamp()) * 10**9


def read(text: str) -> tuple[int, int] | None:
    return moment(text.encode(), ns(NOW))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("90s", 90), ("10m", 600), ("2h", 2 * HOUR), ("1d", DAY), ("1h30m", 5400), ("1d12h5m1s", 129901), ("0s", 0)),
        *(("0-00:00:01", 1), ("1-12:00:00", 36 * HOUR), ("36525d", 36525 * DAY)),
        *((wrong, None) for wrong in ("", "90", "1:30", "1h30", "h", "30m1h", "1h1h", "1.5h", "-1h", "1-12:00", "1w")),
        *((wrong, None) for wrong in ("1-24:00:00", "-12:00:00", "99999999999999999999s", "36526d", "1 h", "36525d1s")),
    ],
)
def test_duration(text: str, seconds: int | None) -> None:
    assert duration(text.encode()) == seconds


def test_moments() -> None:
    assert read("now") == (ns(NOW), ns(NOW))
    assert read("-1h30m") == (ns(NOW) - 5400 * 10**9,) * 2
    assert read("14:00") == (ns(NOW.replace(hour=14, minute=0, second=0)),) * 2
    assert read("2026-02-03T04:05") == (ns(datetime(2026, 2, 3, 4, 5)),) * 2
    assert read("2026-02-03T04:05:06") == (ns(datetime(2026, 2, 3, 4, 5, 6)),) * 2


def test_days_are_spans() -> None:
    midnight = NOW.replace(hour=0, minute=0, second=0)
    day = timedelta(days=1)
    assert read("today") == read("2026-11-30") == (ns(midnight), ns(midnight + day))
    assert read("yesterday") == (ns(midnight - day), ns(midnight))
    assert read("2024-02-29") == (ns(datetime(2024, 2, 29)), ns(datetime(2024, 3, 1)))


@pytest.mark.parametrize("day", ["2026-03-08", "2026-03-29", "2026-10-25", "2026-11-01"])
def test_days_on_which_the_clocks_change(day: str) -> None:
    start = datetime.fromisoformat(day)
    assert read(day) == (ns(start), ns(start + timedelta(days=1)))


@pytest.mark.parametrize(
    "text",
    [
        *("", "noon", "24:00", "12:60", "1:30", "14", "2026-13-01", "2026-02-29", "2026-1-1", "1969-12-31"),
        *(
            "2026-11-30 14:00",
            "2026-11-30T",
            "2026-11-30T14",
            "2026-11-30T24:00",
            "2026-11-30t14:00",
            "--1h",
            "-",
            "+1h",
        ),
    ],
)
def test_what_is_no_moment(text: str) -> None:
    assert read(text) is None


def test_the_zone_is_that_of_the_process() -> None:
    assert os.environ["TZ"] in ("UTC", "Europe/Berlin", "America/New_York")
    assert time.localtime(read("14:00")[0] // 10**9).tm_hour == 14  # type: ignore[index]
