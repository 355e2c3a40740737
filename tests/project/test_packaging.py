"""What an installation consists of, and the shape of the sources."""

import ast
import importlib
import importlib.metadata
import importlib.util
import os
import re
import stat
import subprocess
import sysconfig
import tomllib
from collections import Counter
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import tsfast
from support import installation
from support.places import ROOT
from tsfast._compiled import MODULES, PACKAGES, TOGETHER

SOURCES = ROOT / "src" / "tsfast"
PACKAGE = Path(tsfast.__file__).parent
BIN = Path(sysconfig.get_path("scripts"))
LONGEST_FILE = 650
MOST_ENTRIES = 40
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = (ROOT / "wheels" / "requirements.txt").read_text()


def is_probe(module: str) -> bool:
    return module.rpartition(".")[2] == "probe"


def is_elf(path: Path) -> bool:
    return path.read_bytes()[:4] == b"\x7fELF"


@pytest.mark.parametrize("path", [BIN / "ts", BIN / "tsp", PACKAGE / "native" / "ts-run"], ids=lambda path: path.name)
def test_native_programs_are_real_programs(path: Path) -> None:
    assert is_elf(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_ts_and_tsp_are_the_same_program() -> None:
    assert (BIN / "ts").read_bytes() == (BIN / "tsp").read_bytes()


def test_console_script_is_beside_ts() -> None:
    assert os.access(BIN / "tsfast", os.X_OK)
    assert not is_elf(BIN / "tsfast")


def test_version_has_one_source() -> None:
    assert importlib.metadata.version("tsfast-spooler") == tsfast.__version__
    printed = subprocess.run([BIN / "ts", "-V"], capture_output=True, text=True, check=True).stdout
    assert tsfast.__version__ in printed


def test_only_nvml_is_required_at_run_time() -> None:
    required = importlib.metadata.requires("tsfast-spooler") or []
    assert [line for line in required if "extra ==" not in line] == ["nvidia-ml-py>=12"]


def test_each_source_is_a_compiled_module_with_a_name_of_its_own() -> None:
    """In the shared object a module is known by the last part of its name."""
    sources = {".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in SOURCES.rglob("*.pyx")}
    assert {name for name in sources if installation.has_probes() or not is_probe(name)} == MODULES
    leaves = Counter(module.rpartition(".")[2] for module in MODULES)
    assert [leaf for leaf, number in leaves.items() if number > 1] == []


def test_compiled_modules_are_one_file() -> None:
    places = {Path(str(importlib.import_module(module).__file__)) for module in MODULES}
    assert len(places) == (1 if TOGETHER else len(MODULES))
    assert set(PACKAGE.rglob(f"*{EXTENSION_SUFFIXES[0]}")) == places


def test_packages_that_the_finder_makes_have_no_code() -> None:
    """It does not read their __init__.py."""
    bodies = {path.parent: ast.parse(path.read_text()).body for path in SOURCES.rglob("*/__init__.py")}
    bare = {place for place, body in bodies.items() if [type(statement) for statement in body] == [ast.Expr]}
    names = {".".join(place.relative_to(ROOT / "src").parts) for place in bare - {SOURCES}}
    assert names == PACKAGES
    assert all(
        list(importlib.import_module(name).__path__) == [str(PACKAGE / Path(*name.split(".")[1:]))] for name in PACKAGES
    )


def test_what_is_no_compiled_module_is_not_found() -> None:
    assert importlib.util.find_spec("tsfast.base.absent") is None
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'tsfast\.base\.absent'"):
        importlib.import_module("tsfast.base.absent")


DECLARATIONS = sorted(str(path.relative_to(ROOT / "src")) for path in SOURCES.rglob("*.pxd"))


@pytest.mark.parametrize("name", [*DECLARATIONS, "tsfast/native/table.h"])
def test_what_other_programs_are_compiled_with_is_installed(name: str) -> None:
    assert (PACKAGE.parent / name).is_file()


def test_sources_are_not_installed() -> None:
    """Unless it is installed in place, where they are at home."""
    sources = [path for path in PACKAGE.rglob("*") if path.suffix in (".pyx", ".pxi", ".c", ".o")]
    assert bool(sources) == PACKAGE.samefile(SOURCES)


def test_headers_are_where_other_builds_look() -> None:
    assert Path(tsfast.get_include(), "tsfast", "native", "table.h").is_file()


@pytest.mark.parametrize("name", PROJECT["project"]["optional-dependencies"])
def test_extras_can_be_asked_for(name: str) -> None:
    assert name in (importlib.metadata.metadata("tsfast-spooler").get_all("Provides-Extra") or [])


# ---- what wheels are built with ----


def test_wheels_for_each_supported_python() -> None:
    built = {f"3.{number}" for number in re.findall(r"cp3(\d+)-", " ".join(PROJECT["tool"]["cibuildwheel"]["build"]))}
    named = {match[1] for line in PROJECT["project"]["classifiers"] if (match := re.search(r":: (3\.\d+)$", line))}
    assert named <= built
    assert PROJECT["project"]["requires-python"] == f">={min(built)}"


def test_builds_of_wheels_are_pinned() -> None:
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)$", PINNED, re.MULTILINE))
    assert len(pinned) == len([line for line in PINNED.splitlines() if line and line[0] != "#"])
    for required in PROJECT["build-system"]["requires"]:
        name, version = required.split(">=")
        assert tuple(map(int, pinned[name].split("."))) >= tuple(map(int, version.split(".")))


def test_tests_of_wheels_are_there() -> None:
    arguments = (ROOT / "wheels" / "tests.txt").read_text().split()
    assert [name for name in arguments if not (ROOT / name.removeprefix("--ignore=")).exists()] == []


def test_files_are_short() -> None:
    suffixes = {".py", ".pyx", ".pxd", ".pxi", ".pyi", ".c", ".h"}
    folders = ("src", "tests", "bench", "wheels")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in suffixes]
    lengths = {str(path.relative_to(ROOT)): path.read_bytes().count(b"\n") for path in files}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


@pytest.mark.parametrize("top", ["src", "tests", "bench", "docs", "examples", "share", "wheels"])
def test_folders_fit_on_a_screen(top: str) -> None:
    made = {".so", ".pyc", ".egg-info"}
    entries = [path for path in (ROOT / top).rglob("*") if path.suffix not in made and path.name != "__pycache__"]
    entries = [path for path in entries if not any(part[0] == "." for part in path.relative_to(ROOT).parts)]
    counts = Counter(str(path.parent.relative_to(ROOT)) for path in entries)
    assert {folder: count for folder, count in counts.items() if count > MOST_ENTRIES} == {}


def test_tests_mirror_the_source() -> None:
    """tests/PACKAGE tests src/tsfast/PACKAGE; what belongs to none of them is in one of four other folders."""
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name[0] not in "._"}
    packages = {path.name for path in SOURCES.iterdir() if path.is_dir()}
    assert folders - packages == {"probes", "project", "support", "system"}
