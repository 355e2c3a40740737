"""Scenarios that both spoolers must answer alike, and the table of those where they must not."""

import pytest

from support.places import ROOT
from system.compat.differences import DIFFERENCES, Difference, page
from system.compat.scenarios import SCENARIOS
from system.compat.spoolers import Ours, Theirs
from system.compat.steps import Step, perform

SHOWN = [row for row in DIFFERENCES if row.steps]


@pytest.mark.parametrize("steps", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_same(both: tuple[Theirs, Ours], steps: tuple[Step, ...]) -> None:
    theirs, ours = (perform(spooler, steps) for spooler in both)
    for step, tsp, ts in zip(steps, theirs, ours, strict=True):
        assert ts == tsp, f"{step.verb} {step.arguments}: tsp shows {tsp!r}, ts {ts!r}"


@pytest.mark.parametrize("row", SHOWN, ids=[row.name for row in SHOWN])
def test_different(both: tuple[Theirs, Ours], row: Difference, tsp_version: str) -> None:
    """The last step shows the difference: exactly this, on both sides."""
    theirs, ours = (perform(spooler, row.steps) for spooler in both)
    gone = tsp_version == row.same_in
    assert (theirs[-1], ours[-1]) == (row.shown_ts if gone else row.shown_tsp, row.shown_ts)
    assert row.shown_tsp != row.shown_ts


def test_page_of_differences() -> None:
    """PYTHONPATH=tests python tests/system/compat/differences.py > docs/differences.md"""
    assert (ROOT / "docs" / "differences.md").read_text() == page()


def test_enough_is_compared() -> None:
    assert len(SCENARIOS) >= 60
