"""Options and markers of the whole suite. Tests run against the installed package of the environment of pytest."""

import os

import pytest


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
