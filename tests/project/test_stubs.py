"""Stubs are for what Python code of the package calls. stubtest compares functions; it cannot see the parameters of a
compiled class, so they are compared here."""

import ast
import re
from pathlib import Path

import pytest

from support.places import ROOT

SOURCES = ROOT / "src"
STUBS = sorted(SOURCES.rglob("*.pyi"))
CONSTRUCTORS = [
    re.compile(rf"^    def {name}\((.*?)\)(?: -> \w+)?:", re.MULTILINE | re.DOTALL)
    for name in ("__init__", "__new__", "__cinit__")
]


def parameters(text: str) -> list[tuple[str, bool]]:
    """Names, and whether they can be left out: of a list of parameters in Python or Cython."""
    parts = [part for part in re.split(r",\s*(?![^\[(]*[\])])", text.replace("\n", " ")) if part.strip()]
    found = []
    for part in parts:
        declared, equals, _ = part.partition("=")
        name = declared.partition(":")[0].replace("not None", "").replace("or None", "").split()[-1]
        found.append((name.lstrip("*") or "*", bool(equals)))
    return found


def constructor(body: str) -> list[tuple[str, bool]] | None:
    found = next((match for pattern in CONSTRUCTORS if (match := pattern.search(body))), None)
    return parameters(found[1])[1:] if found else None


def in_stub(stub: Path) -> dict[str, list[tuple[str, bool]]]:
    classes = [node for node in ast.parse(stub.read_text()).body if isinstance(node, ast.ClassDef)]
    found = {node.name: constructor(ast.unparse(node)) for node in classes}
    return {name: taken for name, taken in found.items() if taken is not None}


def in_source(source: str, name: str) -> list[tuple[str, bool]] | None:
    _, _, rest = re.split(rf"^((?:cdef )?class {name}\b)", source, flags=re.MULTILINE)
    return constructor(re.split(r"^\S", rest.partition("\n")[2], maxsplit=1, flags=re.MULTILINE)[0])


CLASSES = [(stub, name) for stub in STUBS for name in in_stub(stub)]


@pytest.mark.parametrize(("stub", "name"), CLASSES, ids=[name for _, name in CLASSES])
def test_constructors_are_those_of_the_source(stub: Path, name: str) -> None:
    assert in_stub(stub)[name] == in_source(stub.with_suffix(".pyx").read_text(), name)


def test_there_are_constructors() -> None:
    assert {"Server", "Reader"} <= {name for _, name in CLASSES}


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: stub.stem)
def test_python_code_uses_what_has_a_stub(stub: Path) -> None:
    package, _, module = ".".join(stub.relative_to(SOURCES).with_suffix("").parts).rpartition(".")
    ways = (rf"from {package}\.{module} import", rf"from {package} import .*\b{module}\b")
    wanted = re.compile(rf"^\s*(?:{'|'.join(ways)})", re.MULTILINE)
    others = [path for path in SOURCES.rglob("*.py*") if path.suffix in (".py", ".pyi") and path != stub]
    assert any(wanted.search(path.read_text()) for path in others)
