"""The documentation: its links lead somewhere, and what it lists is complete. `make docs` builds it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tsfast
from support.places import ROOT
from tsfast.grammar.options import options

DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "tsfast"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "wheels/README.md"])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
OUTSIDE = re.compile(r"^[a-z]+:")


def text_of(page: Path) -> str:
    """Without blocks of code, whose brackets are no links."""
    return re.sub(r"^(```.*?^```$|    .*?$)", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """As GitHub and myst-parser make them of headings."""
    found: list[str] = []
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#{1,6} (.*)$", text, re.MULTILINE):
        words = LINK.sub(lambda link: link[0].partition("](")[0].lstrip("!["), heading).lower().strip()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        count = sum(name == slug or re.fullmatch(rf"{re.escape(slug)}-\d+", name) is not None for name in found)
        found.append(f"{slug}-{count}" if count else slug)
    return set(found)


def broken(page: Path) -> Iterator[str]:
    for link in LINK.findall(text_of(page)):
        if OUTSIDE.match(link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"{link}: there is no such file"
        elif anchor and anchor not in anchors(target):
            yield f"{link}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert not list(broken(page))


def test_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A [page](page.md)\n\n## `--cancel`\n## Twice\n## Twice\n[a](#--cancel) [b](#twice-1) [c](#a-page)\n"
        "[d](none.md) [e](#none) ![f](none.svg) [g](https://example.org/x)\n\n    [h](in-code)\n"
    )
    assert anchors(page) == {"a-page", "--cancel", "twice", "twice-1"}
    assert [found.partition(":")[0] for found in broken(page)] == ["none.md", "#none", "none.svg"]


@pytest.mark.parametrize("row", options(), ids=lambda row: row["letter"] or row["name"])
def test_each_option_is_explained(row: dict) -> None:
    """In words, beyond the table of docs/options.md."""
    page = (DOCS / "cli.md").read_text()
    for name in filter(None, (row["letter"] and f"-{row['letter']}", row["name"] and f"--{row['name']}")):
        if name not in ("--help", "--version"):
            assert re.search(rf"`{name}(?![\w-])", page), f"docs/cli.md does not explain {name}"


def test_each_option_that_is_explained_is_there() -> None:
    names = {f"-{row['letter']}" for row in options()} | {f"--{row['name']}" for row in options()}
    text = (DOCS / "cli.md").read_text()
    tables = re.findall(r"^\| option \|.*\n\|[ -|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    first_cells = [row.split(" | ")[0] for table in tables for row in table.splitlines()]
    told = {word for cell in first_cells for word in re.findall(r"`(--?\w[\w-]*)", cell)}
    assert len(told) > 40
    assert told - names == {"-nf"}  # two of them


def sources() -> str:
    kinds = {".py", ".pyx", ".pxi", ".pxd", ".c", ".h"}
    return "\n".join(path.read_text() for path in sorted(SOURCE.rglob("*")) if path.suffix in kinds)


def test_configuration_has_all_variables() -> None:
    text = sources()
    macros = set(re.findall(r"#define (\w+)", text))
    names = set(re.findall(r"\bTS_[A-Z]+(?:_[A-Z]+)*\b", text)) - macros
    names |= set(re.findall(r"[\"'](TSFAST_[A-Z]+(?:_[A-Z]+)*)\b", text)) - macros
    page = (DOCS / "configuration.md").read_text()
    told = set(re.findall(r"`(TS(?:FAST)?_[A-Z_]+)`", page))
    assert told == names


def test_variables_are_told_from_the_others() -> None:
    """Each row of the table says what a variable is without, and when it is read."""
    page = (DOCS / "configuration.md").read_text()
    rows = re.findall(r"^\| (`TS_\w+`.*) \|$", page.partition("## Variables")[2], re.MULTILINE)
    assert len(rows) > 15
    for row in rows:
        name, default, read, meaning = row.split(" | ")
        assert default and read and meaning, name


def test_python_api_is_complete() -> None:
    page = (DOCS / "api.rst").read_text()
    missing = [name for name in tsfast.__all__ if f" tsfast.{name}\n" not in page.replace("()", "")]
    assert not missing
