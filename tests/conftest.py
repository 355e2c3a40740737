"""Options and markers of the whole suite. Tests run against the installed package of the environment of pytest."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

import reports

# No example may fail because the machine is slow.
settings.register_profile("tsfast", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tsfast")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="leave out the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unprivileged = pytest.mark.skip(reason="needs uid 0")
    slow = pytest.mark.skip(reason="slow, left out by --fast")
    for item in items:
        if os.geteuid() != 0 and item.get_closest_marker("root"):
            item.add_marker(unprivileged)
        if config.getoption("--fast") and item.get_closest_marker("slow"):
            item.add_marker(slow)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Say why; those that somebody did not ask for have no such marker."""
    for item in items:
        for mark in map(item.get_closest_marker, ("unsanitized", "no_valgrind")):
            if mark:
                print(f"left out: {item.nodeid}: {mark.args[0]}")


# ---- what sanitizers and valgrind report fails the test in which it happens ----


def pytest_sessionstart() -> None:
    reports.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    try:
        return (yield)
    finally:
        if found := reports.take():
            pytest.fail(found, pytrace=False)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if found := reports.take():  # of processes that outlived their test
        print(f"\n{found}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
