"""Imports go one way: leaves <- the parts, which do not know each other <- what puts them together <- the CLI."""

import re
from pathlib import Path

import pytest

from support.places import ROOT

SOURCES = ROOT / "src" / "tsfast"

# Constants, C declarations, inline helpers, growing text, a job's record.
LEAVES = {"_limits", "_sys", "_layout", "_idmap", "_gpumask", "_quote", "_row"}
# Inline helpers of the queue alone.
OF_QUEUE = {"_slab", "_heap"}

# What each compiled module may take from tsfast, by cimport or import.
ALLOWED: dict[str, set[str]] = {
    "_limits": set(),
    "_sys": set(),
    "_layout": set(),
    "_idmap": set(),
    "_gpumask": {"_layout"},
    "_quote": set(),
    "_row": {"_layout", "_quote"},
    "_timerfd": {"_sys"},
    "_slab": set(),
    "_heap": {"_slab"},
    # pure: what words mean, what a job looks like, which job is next, which GPUs it gets; and the loop, which knows
    # nothing
    "_grammar": LEAVES,
    "_logpath": LEAVES,
    "_envfilter": LEAVES,
    "_text": LEAVES,
    "_jobs": LEAVES | OF_QUEUE,
    "_gpus": LEAVES,
    "_events": LEAVES,
    "_loop": LEAVES,
    "_encode": LEAVES | {"_grammar"},
    # what is written goes on to the journal; what is to be seen outside waits for it
    "_journal": LEAVES | {"_loop", "trust"},
    "_outbox": LEAVES | {"_journal"},
    # effects: files, clients, runners; each knows nothing of the others, and no queue
    "_table": LEAVES | {"_journal", "trust"},
    "_contexts": LEAVES | {"_journal", "trust"},
    "_environ": LEAVES | {"_grammar"},
    "_conns": LEAVES | {"_loop", "_journal"},
    "_runners": LEAVES | {"_loop", "_outbox", "trust"},
    "_leases": LEAVES,
    "_poller": LEAVES | {"_loop"},
    # composition
    "_listing": LEAVES | {"_grammar", "_text", "_table", "_contexts"},
    "_reader": LEAVES | {"_table", "_listing", "arrays", "errors"},
    "_hooks": LEAVES | {"_loop", "_text", "_table", "_contexts"},
    "_grants": LEAVES | {"_jobs", "_gpus", "_loop", "_table", "_leases", "_poller"},
    "_staging": LEAVES | {"_table", "_contexts"},
    "_arrays": LEAVES | {"_grammar", "_jobs"},
    "_pauses": LEAVES | {"_jobs", "_loop"},
    "_unreadable": LEAVES | {"_jobs", "_table"},
    "_spool": LEAVES
    | {"_jobs", "_loop", "_table", "_contexts", "_runners", "_hooks", "_grants", "_staging", "_events"}
    | {"_arrays", "_pauses", "_unreadable"},
    "_absent": LEAVES | {"_jobs", "_spool"},
    "_recovery": LEAVES | {"_absent", "_arrays", "_jobs", "_table", "_contexts", "_runners", "_hooks", "_spool"},
    # what is answered to clients: to one, about one job, about several, and which answer to what
    "_request": LEAVES,
    "_inherited": LEAVES,
    "_replies": LEAVES | {"_conns"},
    "_waiters": LEAVES | {"_conns"},
    "_watchers": LEAVES | {"_conns", "_events", "_waiters"},
    "_lists": LEAVES
    | {"_arrays", "_grammar", "_jobs", "_conns", "_listing", "_request", "_spool", "_replies", "_text", "_whole"},
    "_gpu_actions": LEAVES | {"_gpus", "_grammar", "_jobs", "_conns", "_spool", "_replies"},
    "_why": LEAVES | {"_text", "_jobs", "_gpus", "_spool"},
    "_whole": LEAVES | {"_arrays", "_grammar", "_jobs", "_spool", "_text", "_why"},
    "_facts": LEAVES | {"_grammar", "_text", "_jobs", "_spool", "_why"},
    "_adding": LEAVES
    | {"_grammar", "_environ", "_envfilter", "_logpath", "_jobs", "_conns", "_spool", "_staging", "_request"}
    | {"_replies", "_gpu_actions", "_arrays", "_inherited"},
    "_many": LEAVES
    | {"_arrays", "_grammar", "_jobs", "_loop", "_conns", "_spool", "_replies", "_waiters", "_facts", "_whole"},
    "_cancel": LEAVES | {"_grammar", "_jobs", "_loop", "_conns", "_runners", "_spool", "_replies", "_many"},
    "_commands": LEAVES
    | {"_grammar", "_environ", "_jobs", "_conns", "_lists", "_spool", "_replies", "_waiters", "_facts", "_many"}
    | {"_adding", "_arrays", "_cancel", "_gpu_actions", "_request", "_watchers"},
    "_core": LEAVES
    | {"_journal", "_outbox"}
    | {"_loop", "_table", "_contexts", "_conns", "_runners", "_spool", "_recovery", "_commands", "_inherited"},
    # Python: on the way of the first call, then the command line
    "__init__": {"aio", "errors", "executor", "failures", "jobs", "queue", "results"},  # lazily
    "arrays": set(),
    "paths": set(),
    "trust": set(),
    "pointers": {"_core", "paths", "trust"},
    "state": {"_core", "paths", "pointers", "trust"},
    "mail": {"_quote"},
    "savelist": {"_listing", "trust"},
    "boot": {"_core", "_environ", "_grammar", "_inherited", "_quote"}
    | {"paths", "pointers", "savelist", "state", "trust"},
    "gpus": {"_leases"},
    "errors": set(),
    "worker": set(),  # what it imports, each task waits for
    "jobs": set(),
    "programs": set(),
    "connection": {"_encode", "errors", "paths", "programs"},
    "events": {"_encode", "_timerfd", "connection", "errors"},
    "results": {"_reader", "events"},
    "queue": {"_encode", "_listing", "_reader", "arrays", "connection", "errors", "events", "jobs", "results"}
    | {"paths", "state"},
    "aio": {"errors", "events", "jobs", "queue", "results"},
    "failures": {"errors", "results"},
    "calls": {"errors", "events", "queue", "paths", "state", "trust"},
    "outcome": {"calls", "connection", "errors", "failures", "queue", "results"},
    "bell": set(),
    "futures": set(),
    "removals": {"errors", "queue"},
    "tasks": {
        "bell",
        "calls",
        "connection",
        "errors",
        "events",
        "futures",
        "jobs",
        "outcome",
        "queue",
        "removals",
        "results",
    },
    "executor": {"calls", "futures", "jobs", "queue", "results", "tasks"},
    "cli": {"queue", "errors", "events", "connection", "boot", "gpus", "paths", "programs", "state", "trust"}
    | {"pointers", "_core", "_encode", "_gpus", "_grammar", "_listing", "_logpath", "_quote", "_reader"},
    "__main__": {"cli"},
}

# Pieces of a module that have files of their own.
PIECES = {
    "_jobs_storage": "_jobs",
    "_jobs_steps": "_jobs",
    "_jobs_probe": "_jobs",
    "_tokens": "_spool",
    "_outcome": "_runners",
    "_grammar_python": "_grammar",
    "_grammar_values": "_grammar",
    "_gpus_needs": "_gpus",
    "_gpus_choice": "_gpus",
    "_gpus_verdict": "_gpus",
    "_gpus_probe": "_gpus",
    "_text_arrays": "_text",
    "_text_probe": "_text",
    "_table_probe": "_table",
}

FILES = sorted(path for suffix in ("pyx", "pxd", "pxi") for path in SOURCES.glob(f"_*.{suffix}"))

PATTERNS = [
    re.compile(r"^\s*from\s+tsfast\.(\w+)[\w.]*\s+c?import\b", re.MULTILINE),  # from tsfast._x cimport name
    re.compile(r"^\s*c?import\s+tsfast\.(\w+)", re.MULTILINE),  # cimport tsfast._x
    re.compile(r"^\s*from\s+\.(\w+)\s+c?import\b", re.MULTILINE),  # from ._x cimport name
]
# from tsfast cimport _x, _y
SEVERAL = re.compile(r"^\s*from\s+(?:tsfast|\.)\s+c?import\s+(?:\(([^)]*)\)|(.*))", re.MULTILINE)


def imports(text: str) -> set[str]:
    """The modules of tsfast that a source takes anything from."""
    found = {name for pattern in PATTERNS for name in pattern.findall(text)}
    for bracketed, plain in SEVERAL.findall(text):
        names = re.sub(r"#.*", "", bracketed or plain).split(",")
        found |= {name.split()[0] for name in names if name.strip()}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_compiled_module_imports_only_what_lies_below(path: Path) -> None:
    module = PIECES.get(path.stem, path.stem)
    assert module in ALLOWED, f"{module} has no place in the map yet"
    taken = {PIECES.get(name, name) for name in imports(path.read_text())} - {module}
    assert taken <= ALLOWED[module]


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCES)))
def test_python_module_imports_only_what_lies_below(path: Path) -> None:
    module = path.relative_to(SOURCES).parts[0].removesuffix(".py")
    assert module in ALLOWED, f"{module} has no place in the map yet"
    taken = imports(path.read_text()) - {module, "__version__"}
    assert taken <= ALLOWED[module]


def test_the_map_has_no_cycle() -> None:
    left = dict(ALLOWED)
    while left:
        free = {module for module, below in left.items() if not below & left.keys()}
        assert free, f"a cycle among {sorted(left)}"
        left = {module: below for module, below in left.items() if module not in free}


def test_no_compiled_module_knows_the_command_line() -> None:
    for path in FILES:
        assert "cli" not in imports(path.read_text()), path.name


def test_import_of_the_package_is_bare() -> None:
    """`tsfast` itself is imported on the way to every answer of the Python command line."""
    text = (SOURCES / "__init__.py").read_text()
    eager = re.findall(r"^(?:from|import)\s+(\S+)", text, re.MULTILINE)
    assert set(eager) <= {"__future__", "typing"}
    assert "numpy" not in eager


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from tsfast._jobs cimport Queue\n", {"_jobs"}),
        ("cimport tsfast._jobs\n", {"_jobs"}),
        ("from tsfast cimport _jobs, _table as t  # why\n", {"_jobs", "_table"}),
        ("from tsfast._sys cimport (\n    A, B,\n)\n", {"_sys"}),
        ("from . cimport _loop\nfrom ._text cimport Text\n", {"_loop", "_text"}),
        ("from libc.stdint cimport uint8_t\nimport os\n", set()),
    ],
)
def test_imports_are_read(text: str, expected: set[str]) -> None:
    assert imports(text) == expected
