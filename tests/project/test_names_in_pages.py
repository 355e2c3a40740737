"""Each file, function, class and name of the code that a page mentions in backticks exists."""

import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from support.places import ROOT

PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"), ROOT / "wheels/README.md"]
)
SOURCES = ("src", "tests", "bench", "share", "wheels", "examples", ".ci", ".github")
FILE = re.compile(r"[\w.{}*-]+(?:/[\w.{}*-]+)*\.(?:py|pyx|pxd|pxi|pyi|c|h|md|toml|yml|yaml|sh|rst|svg)")
DIRECTORY = re.compile(r"(?:(?:src|tests|docs|bench|share|wheels|examples|native)/[\w./-]*|(?:\w+/)+)")
CLASS_MEMBER = re.compile(r"(_?[A-Z]\w*[a-z]\w*)\.(\w+)")
MODULE_MEMBER = re.compile(r"([a-z]\w*)\.(\w+)")
IDENTIFIER = re.compile(r"\w*[A-Za-z]\w*_\w+|_[a-z]\w*|[A-Z]+[a-z]\w*[A-Z]\w*")
COMPILED = (".pyx", ".pxd", ".pxi")
# Names of other programs, the kernel, the loader, systemd, builds and queues.
FOREIGN_FILES = {"pueue.yml", "wheels/dist", "log.old", "header.new", "journal/"}
FOREIGN_WORDS = {
    *("rt_sigtimedwait", "sched_yield", "filemap_get_entry", "shmem_file_read_iter", "_copy_to_iter"),
    *("virtio_pci", "virtio_blk", "DT_RELR", "MemoryMax"),
}


@cache
def files() -> dict[str, Path]:
    """What git tracks of the code, and the pages; a directory of the environment or a build is none of it."""
    skipped = {"build", "dist", "__pycache__"}
    found = {}
    for folder in (*SOURCES, "docs"):
        found[folder] = ROOT / folder
        for path in (ROOT / folder).rglob("*"):
            parts = path.relative_to(ROOT).parts
            if not skipped & set(parts) and path.suffix not in (".so", ".pyc"):
                found[str(path.relative_to(ROOT))] = path
    for path in ROOT.iterdir():
        if path.is_file():
            found[path.name] = path
    return found


@cache
def text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


@cache
def code() -> dict[str, str]:
    """All sources that are no pages."""
    return {name: text(path) for name, path in files().items() if not name.startswith("docs/") and path.suffix != ".md"}


@cache
def words() -> frozenset[str]:
    """Those of the sources, and the names of the files."""
    return frozenset(re.findall(r"\w+", "\n".join(code().values()))) | {path.stem for path in files().values()}


def named(name: str) -> list[str]:
    """The files whose path ends with this one; `{a,b}` and `*` stand for what a shell takes them for."""
    pattern = re.escape(name).replace(r"\*", "[^/]*")
    pattern = re.sub(r"\\\{([^}]*)\\\}", lambda braces: "(?:" + braces[1].replace(",", "|") + ")", pattern)
    return [path for path in files() if re.search(rf"(?:^|/){pattern}$", path)]


def classes(name: str) -> list[str]:
    """The texts that define or continue a class or a C struct."""
    pattern = re.compile(rf"^\s*(?:cdef |ctypedef )?(?:final )?(?:class|struct|union|enum) {name}\b", re.MULTILINE)
    return [source for source in code().values() if pattern.search(source)]


def wrong(span: str, own_files: set[str]) -> str | None:
    """What is wrong with a span of code, if it is a name of ours."""
    span = span.removesuffix("()")
    if span in own_files or span in FOREIGN_FILES:
        return None
    path, _, symbol = span.partition(" ")
    if FILE.fullmatch(path) and re.fullmatch(r"\w*", symbol):
        found = named(path)
        if not found:
            return "there is no such file"
        if symbol and not any(re.search(rf"\b{symbol}\b", text(files()[name])) for name in found):
            return f"{symbol} is not in it"
        return None
    if DIRECTORY.fullmatch(span):
        if "PACKAGE" in span:  # stands for each of them
            return None
        return None if named(span.rstrip("/")) else "there is no such file or folder"
    if span.startswith("tsfast.") and re.fullmatch(r"[\w.]+", span):
        return wrong_attribute(span)
    if member := CLASS_MEMBER.fullmatch(span):
        texts = classes(member[1])
        if not texts:
            return f"there is no class {member[1]}"
        return None if any(re.search(rf"\b{member[2]}\b", source) for source in texts) else f"it has no {member[2]}"
    if member := MODULE_MEMBER.fullmatch(span):
        modules = [
            name for suffix in (".py", *COMPILED) for name in named(member[1] + suffix) if name.startswith("src/")
        ]
        if modules and not any(re.search(rf"\b{member[2]}\b", text(files()[name])) for name in modules):
            return f"{member[2]} is not in it"
        return None
    if IDENTIFIER.fullmatch(span) and span not in words() and span not in FOREIGN_WORDS:
        return "no source has this word"
    return None


def wrong_attribute(name: str) -> str | None:
    """Of a dotted name that begins with the package: a module, or an attribute of one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[end:]:
            if not hasattr(found, attribute):
                return f"{'.'.join(parts[:end])} has no {attribute}"
            found = getattr(found, attribute)
        return None
    return "there is no such module"


def spans(page: str) -> Iterator[tuple[int, str]]:
    """The lines and texts of code in a page's sentences and tables; blocks of code are what readers type."""
    page = re.sub(r"^```.*?^```$", lambda block: "\n" * block[0].count("\n"), page, flags=re.MULTILINE | re.DOTALL)
    for found in re.finditer(r"(?<!`)`([^`\n]+)`(?!`)", page):
        yield page.count("\n", 0, found.start()) + 1, found[1]


def mistakes(page: str) -> list[str]:
    own_files = set(re.findall(r"^# (\S+\.\w+)$", page, re.MULTILINE))
    return [f"line {line}: `{span}`: {what}" for line, span in spans(page) if (what := wrong(span, own_files))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_exist(page: Path) -> None:
    assert not (found := mistakes(page.read_text())), "\n" + "\n".join(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_targets_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+(?: [\w-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = {target for line in targets for target in line.split()}
    named_here = set(re.findall(r"`make ([a-z][\w-]*)", page.read_text()))
    assert named_here <= known


def test_a_name_that_is_gone_is_found() -> None:
    there = [
        "setup.py",
        "tests/project",
        "native/table.h tsf_hot",
        "Queue.submit",
        "tsfast.Queue",
        "boot.serve",
        "mine.py",
    ]
    gone = ["no_such.py", "tests/no_such", "native/table.h tsf_none", "Queue.no_such", "NoSuch.submit", "tsfast.NoSuch"]
    gone += ["boot.no_such_function", "tsf_" + "nothing_of_ours"]
    page = "\n".join(f"`{span}`" for span in there + gone) + "\n```python\n# mine.py\n`NoSuch.thing`\n```\n"
    lines = range(len(there) + 1, len(there) + len(gone) + 1)
    assert [mistake.partition(": ")[0] for mistake in mistakes(page)] == [f"line {line}" for line in lines]
