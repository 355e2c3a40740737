"""Options and markers of the whole suite, and what holds for all of it. support/installation.py says which build is
tested, support/fixtures.py has the queues of tests."""

import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support import installation, programs, reports

pytest_plugins = ["support.fixtures"]

# No example may fail because the machine is slow.
settings.register_profile("tsfast", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tsfast")

PROBED = re.compile(r"^from tsfast\S+ import .*\b(\w+Probe|render)\b", re.MULTILINE)
NOT_HERE = pytest.StashKey[str]()  # the missing programs that a test needs
NOT_TESTED = pytest.StashKey[Counter[tuple[str, str]]]()  # how many tests of which file want them
BEFORE = "TSFAST_NOT_TESTED"  # a file for the sessions of one `make test`: the last one names all


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="leave out the tests marked slow")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Against a wheel, what needs a probe is left out."""
    if installation.has_probes() or collection_path.suffix != ".py":
        return None
    if PROBED.search(collection_path.read_text()) is None:
        return None
    print(f"left out: {collection_path.name} needs probes, which a wheel does not have")
    return True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unprivileged = pytest.mark.skip(reason="needs uid 0")
    slow = pytest.mark.skip(reason="slow, left out by --fast")
    absent = programs.missing()
    for item in items:
        if os.geteuid() != 0 and item.get_closest_marker("root"):
            item.add_marker(unprivileged)
        if config.getoption("--fast") and item.get_closest_marker("slow"):
            item.add_marker(slow)
        if needed := [program for program in absent if program.is_run_by(item.nodeid)]:
            item.stash[NOT_HERE] = programs.listed(needed)
            item.add_marker(pytest.mark.skip(reason=f"missing: {item.stash[NOT_HERE]}"))


# ---- what a machine does not let us test is named at the end ----


def pytest_collection_finish(session: pytest.Session) -> None:
    left_out = [item for item in session.items if NOT_HERE in item.stash]
    if left_out and programs.must_be_complete():
        raise pytest.UsageError(f"CI=true, but {left_out[0].nodeid} needs {left_out[0].stash[NOT_HERE]}")
    session.config.stash[NOT_TESTED] = Counter(
        (item.stash[NOT_HERE], item.nodeid.partition("::")[0]) for item in left_out
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Iterator[None]:
    yield  # all else has been told
    counts = config.stash.get(NOT_TESTED, Counter())
    lines = [f"{count} in {file} without {program}" for (program, file), count in counts.items()]
    if path := os.environ.get(BEFORE):
        with Path(path).open("a+") as file:
            file.seek(0)
            before = file.read().splitlines()
            file.write("".join(f"{line}\n" for line in lines))
        lines = [*before, *lines]
    if lines:
        terminalreporter.write_line(f"not tested: {'; '.join(lines)}", yellow=True)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Say why; those that somebody did not ask for have no such marker."""
    for item in items:
        for mark in map(item.get_closest_marker, ("unsanitized", "no_valgrind")):
            if mark:
                print(f"left out: {item.nodeid}: {mark.args[0]}")


# ---- what sanitizers and valgrind report fails the test in which it happens ----


def pytest_sessionstart() -> None:
    if told := installation.wrong():
        pytest.exit(f"the wrong build: {told}", pytest.ExitCode.USAGE_ERROR)
    os.environ.pop("PYTHONPATH", None)  # what the tests start finds the package as pytest did
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:  # in the background of a shell or of nohup, and so for children
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
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
