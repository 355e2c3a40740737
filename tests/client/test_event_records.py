"""What the server tells of changes, as Python reads it and as `tsfast events` shows it."""

import ctypes
import json
import time

import pytest

from support import layouts
from tsfast.cli.events import as_json, as_text
from tsfast.client import connection, events
from tsfast.client.errors import ServerUnavailable
from tsfast.client.events import Event, unpacked

STATES = {
    "TSF_QUEUED": "queued",
    "TSF_STARTING": "starting",
    "TSF_RUNNING": "running",
    "TSF_FINISHED": "finished",
    "TSF_FAILED": "failed",
    "TSF_KILLED": "killed",
    "TSF_NOT_STARTABLE": "not-startable",
    "TSF_LOST": "lost",
    "TSF_SKIPPED": "skipped",
    "TSF_REMOVED": "removed",
    "TSF_FORGOTTEN": "forgotten",
    "TSF_CANCELLED": "cancelled",
}


def packed(**fields: int) -> bytes:
    return bytes(layouts.tsf_event(**fields))


def test_layout_is_that_of_c() -> None:
    change = packed(
        seq=1 << 50, id=(1 << 63) - 1, time_ns=1500000000, status=3 << 8, state=layouts.TSF_FAILED, waited=1,
        kind=layouts.TSF_EVENT_CHANGE,
    )  # fmt: skip
    told = change + packed(seq=7, kind=layouts.TSF_EVENT_HEAD) + packed(seq=8, kind=layouts.TSF_EVENT_GAP)
    assert unpacked(told) == [
        Event(1 << 50, (1 << 63) - 1, "failed", 3 << 8, 1.5, "change"),
        Event(7, 0, "", None, 0.0, "head"),
        Event(8, 0, "", None, 0.0, "gap"),
    ]


def test_constants_are_those_of_c() -> None:
    assert connection.FRAME.size == ctypes.sizeof(layouts.tsf_frame)
    assert {state: events.STATES.index(state) for state in STATES.values()} == {
        state: getattr(layouts, name) for name, state in STATES.items()
    }


def test_every_state_has_a_name() -> None:
    """Of its own: programs look for it with index()."""
    assert list(STATES.values()) == list(events.STATES[1:])
    assert len(set(STATES.values())) == len(STATES)
    assert set(STATES.values()) - {*events.UNFINISHED, "forgotten"} == events.ENDED


def test_what_a_later_release_tells_is_left_out() -> None:
    queued = packed(seq=1, id=2, time_ns=3, status=4, state=layouts.TSF_QUEUED)
    later = packed(seq=1, kind=layouts.TSF_EVENT_GAP + 1) + packed(seq=1, state=layouts.TSF_ALLOCATING)
    assert unpacked(later + queued) == [Event(1, 2, "queued", None, 3e-9)]


def test_half_an_event_is_an_error() -> None:
    with pytest.raises(ServerUnavailable):
        unpacked(packed(seq=1)[:-1])


@pytest.mark.parametrize(
    ("state", "status", "code", "signal", "shown"),
    [
        ("queued", None, None, None, "queued"),
        ("finished", 0, 0, None, "finished       0"),
        ("failed", 3 << 8, 3, None, "failed         3"),
        ("killed", 9, None, 9, "killed         signal 9"),
        ("killed", 9 | 0x80, None, 9, "killed         signal 9"),
        ("cancelled", 0, 0, None, "cancelled      0"),
        ("not-startable", None, None, None, "not-startable"),
    ],
)
def test_a_change_as_text(state: str, status: int | None, code: int | None, signal: int | None, shown: str) -> None:
    event = Event(5, 12, state, status, 1769857200.25)
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1769857200))
    assert as_text(event) == f"{moment}.250  12      {shown}\n"
    assert json.loads(as_json(event)) == {
        "kind": "change", "seq": 5, "id": 12, "state": state, "time": 1769857200.25, "exit_code": code,
        "signal": signal,
    }  # fmt: skip


def test_head_and_gap_as_text() -> None:
    assert as_text(Event(5, 0, "", None, 0.0, "head")) == ""
    assert "missing" in as_text(Event(5, 0, "", None, 0.0, "gap"))
    assert json.loads(as_json(Event(5, 0, "", None, 1.5, "gap"))) == {"kind": "gap", "seq": 5, "time": 1.5}
