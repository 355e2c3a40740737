"""Imports go one way, from package to package: a package imports only those that its row names.

docs/architecture.md has the same table, with the rule of each package."""

import re
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src" / "tsfast"
PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"

# What the modules of each package may take from tsfast, by cimport or import. `_core`: the module of that name.
ALLOWED: dict[str, set[str]] = {
    "base": {"layout"},
    "layout": set(),
    "grammar": {"base", "layout"},
    "scheduler": {"base"},
    "store": {"base", "layout"},
    "render": {"base", "layout", "grammar", "store"},
    "resources": {"base", "layout", "scheduler", "store"},
    "engine": {"base", "layout", "store"},
    "lifecycle": {"base", "layout", "grammar", "scheduler", "store", "render", "resources", "engine"},
    "server": {"base", "layout", "grammar", "scheduler", "store", "render", "resources", "lifecycle"},
    "_core": {"base", "layout", "store", "engine", "lifecycle", "server"},
    "location": {"base"},
    "client": {"base", "layout", "grammar", "store", "render", "location"},
    "executor": {"base", "client", "location"},
    "daemon": {"base", "grammar", "render", "server", "_core", "location"},
    "monitor": set(),
    "cli": {"base", "grammar", "render", "resources", "location", "client", "daemon", "monitor"},
    "__init__": {"client", "executor"},  # lazily
    "__main__": {"cli"},
}

COMPILED = ("pyx", "pxd", "pxi")
WRITTEN = "_compiled"  # the list of compiled modules, which the build writes
FILES = sorted(path for suffix in (*COMPILED, "py") for path in SOURCES.rglob(f"*.{suffix}") if path.stem != WRITTEN)

PATTERNS = [
    re.compile(r"^\s*from\s+tsfast\.([\w.]+)\s+c?import\b", re.MULTILINE),  # from tsfast.base.text cimport name
    re.compile(r"^\s*c?import\s+tsfast\.([\w.]+)", re.MULTILINE),  # cimport tsfast.base.text
]
# from tsfast import _core, __version__
SEVERAL = re.compile(r"^\s*from\s+tsfast\s+c?import\s+(?:\(([^)]*)\)|(.*))", re.MULTILINE)
# from tsfast.location import paths, state
OF_PACKAGE = re.compile(r"^\s*from\s+tsfast\.(\w+(?:\.\w+)*)\s+c?import\s+(?:\(([^)]*)\)|(.*))", re.MULTILINE)


def names_in(bracketed: str, plain: str) -> list[str]:
    names = re.sub(r"#.*", "", bracketed or plain).split(",")
    return [name.split()[0] for name in names if name.strip()]


def imports(text: str) -> set[str]:
    """The modules and packages of tsfast that a source takes anything from, by their dotted names below it."""
    found = {name for pattern in PATTERNS for name in pattern.findall(text)}
    for bracketed, plain in SEVERAL.findall(text):
        found |= {name for name in names_in(bracketed, plain) if name != "__version__"}
    return found - {WRITTEN}


def modules(text: str) -> set[str]:
    """The same, with the modules that are named behind `from tsfast.PACKAGE import`."""
    found = imports(text)
    for package, bracketed, plain in OF_PACKAGE.findall(text):
        if (SOURCES / package.replace(".", "/")).is_dir():
            found |= {f"{package}.{name}" for name in names_in(bracketed, plain)}
    return found


def package_of(path: Path) -> str:
    return path.relative_to(SOURCES).parts[0].partition(".")[0]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCES).with_suffix("").parts)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCES)))
def test_module_imports_only_what_its_package_may(path: Path) -> None:
    package = package_of(path)
    assert package in ALLOWED, f"{package} has no place in the table yet"
    taken = {name.partition(".")[0] for name in imports(path.read_text())} - {package}
    assert taken <= ALLOWED[package]


@pytest.mark.parametrize("path", sorted((SOURCES / "server").rglob("*.pyx")), ids=lambda path: path.stem)
def test_server_asks_the_spool_and_not_its_parts(path: Path) -> None:
    """The parts may be lent to a reading function, as the table is to that of lists."""
    reached = re.findall(r"\bspool\.(?:table|contexts|staging|scheduler|engine)\.\w+", path.read_text())
    assert not reached


def assert_no_cycle(graph: dict[str, set[str]]) -> None:
    left = dict(graph)
    while left:
        free = {name for name, below in left.items() if not below & left.keys()}
        assert free, f"a cycle among {sorted(left)}"
        left = {name: below for name, below in left.items() if name not in free}


def table_of_the_page() -> dict[str, tuple[str, set[str]]]:
    """The rule of each package and what it may import."""
    section = PAGE.read_text().partition("\n## Packages\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\S.*?) \| (.*?) ?\|$", section, re.MULTILINE)
    return {package: (rule, set(re.findall(r"`(\w+)`", allowed))) for package, rule, allowed in rows}


def test_page_has_the_same_table() -> None:
    assert {package: allowed for package, (_, allowed) in table_of_the_page().items()} == ALLOWED


@pytest.mark.parametrize(
    "package", sorted(path.parent for path in SOURCES.glob("*/__init__.py")), ids=lambda path: path.name
)
def test_page_has_the_rule_of_each_package(package: Path) -> None:
    first_line = (package / "__init__.py").read_text().partition("\n")[0]
    assert first_line.strip('"') == table_of_the_page()[package.name][0]


def test_packages_have_no_cycle() -> None:
    assert_no_cycle({package: below for package, below in ALLOWED.items() if package != "layout"})


def test_modules_have_no_cycle() -> None:
    """Pieces that a module includes count as the module; a package's directory is no module."""
    graph: dict[str, set[str]] = {}
    owners = {}
    for path in FILES:
        for piece in re.findall(r'^include "(.+)\.pxi"', path.read_text(), re.MULTILINE):
            owners[module_of(path.parent / f"{piece}.pxi")] = module_of(path)
    for path in FILES:
        name = owners.get(module_of(path), module_of(path))
        graph.setdefault(name, set()).update(modules(path.read_text()))
    assert_no_cycle({name: (below & graph.keys()) - {name} for name, below in graph.items() if name != "__init__"})


@pytest.mark.parametrize(
    "package", sorted(path.parent for path in SOURCES.rglob("__init__.py")), ids=lambda path: path.name
)
def test_package_says_its_rule(package: Path) -> None:
    text = (package / "__init__.py").read_text()
    assert re.match(r'"""\S[^\n]*[.?]', text), "its first line is its rule"


def test_no_compiled_module_knows_the_command_line() -> None:
    for path in FILES:
        if path.suffix != ".py":
            taken = {name.partition(".")[0] for name in imports(path.read_text())}
            assert not taken & {"cli", "daemon"}, path.name


def test_import_of_the_package_is_bare() -> None:
    """`tsfast` itself is imported on the way to every answer of the Python command line."""
    text = (SOURCES / "__init__.py").read_text()
    eager = re.findall(r"^(?:from|import)\s+(\S+)", text, re.MULTILINE)
    assert set(eager) == {"sys", "_frozen_importlib_external", "tsfast._compiled"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from tsfast.scheduler.slab cimport Job\n", {"scheduler.slab"}),
        ("cimport tsfast.scheduler.slab\n", {"scheduler.slab"}),
        ("from tsfast import _core, __version__  # why\n", {"_core"}),
        ("from tsfast.base.system cimport (\n    A, B,\n)\n", {"base.system"}),
        ("from tsfast.location import paths, state as s\n", {"location", "location.paths", "location.state"}),
        ("from libc.stdint cimport uint8_t\nimport os\n", set()),
    ],
)
def test_imports_are_read(text: str, expected: set[str]) -> None:
    assert modules(text) == expected
