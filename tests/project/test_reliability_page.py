"""docs/reliability.md: what it promises has a test, and each test that it names is there."""

import re

import pytest

from support.places import ROOT

PAGE = (ROOT / "docs" / "reliability.md").read_text()
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
}
PROMISES = re.findall(r"^\| promise \| test \|\n\| --- \| --- \|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
ROWS = [line for table in PROMISES for line in table.splitlines()]


def test_each_test_that_is_named_is_there() -> None:
    names = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(names) > 20
    assert names <= TESTS, f"named, but not there: {sorted(names - TESTS)}"


def test_each_file_that_is_named_is_there() -> None:
    files = set(re.findall(r"(?<![\w/])(?:tests/)[\w/.]+", PAGE))
    assert files and all((ROOT / name.rstrip(".")).exists() for name in files), files
    short = set(re.findall(r"`(test_\w+\.py)`", PAGE))
    there = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert short <= there, f"named, but not there: {sorted(short - there)}"


@pytest.mark.parametrize("row", ROWS)
def test_each_promise_names_its_test(row: str) -> None:
    promise, tests = (cell.strip() for cell in row.strip("|").split("|"))
    assert promise and "test_" in tests
