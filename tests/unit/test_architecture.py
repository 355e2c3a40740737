"""Imports go one way: leaves <- the parts, which do not know each other <- what puts them together <- the CLI."""

import re
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src" / "tsfast"

LEAVES = {"_limits", "_sys", "_layout", "_idmap", "_quote"}
PARTS = {"_grammar", "_jobs", "_table", "_loop", "_row", "_text", "_contexts"}
EFFECTS = {"_runners", "_conns"}

# What each compiled module may take from tsfast, by cimport or import.
ALLOWED: dict[str, set[str]] = {
    # leaves: constants, C declarations, inline helpers
    "_limits": set(),
    "_layout": {"_limits"},
    "_sys": {"_limits", "_layout"},
    "_idmap": set(),
    "_quote": set(),
    # parts: each one concept, and no neighbours but for Row, a job as the table holds it and texts show it
    "_grammar": LEAVES,
    "_jobs": LEAVES,
    "_loop": LEAVES,
    "_contexts": LEAVES,
    "_row": LEAVES,
    "_text": LEAVES | {"_row"},
    "_table": LEAVES | {"_row", "_text"},
    # effects: what talks to runners and to clients
    "_runners": LEAVES | {"_loop"},
    "_conns": LEAVES | {"_loop"},
    # composition
    "_listing": LEAVES | PARTS,
    "_spool": LEAVES | PARTS | EFFECTS,
    "_commands": LEAVES | PARTS | EFFECTS | {"_listing", "_spool"},
    "_core": LEAVES | PARTS | EFFECTS | {"_listing", "_spool", "_commands"},
}

# Pieces of a module that have files of their own: inline functions, included code.
PIECES = {"_heap": "_jobs", "_slab": "_jobs", "_jobs_probe": "_jobs", "_tokens": "_spool"}

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
