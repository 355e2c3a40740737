"""What an installation consists of, and the shape of the sources."""

import importlib.metadata
import os
import stat
import subprocess
import sysconfig
from pathlib import Path

import pytest

import tsfast

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src" / "tsfast"
PACKAGE = Path(tsfast.__file__).parent
BIN = Path(sysconfig.get_path("scripts"))
LONGEST_FILE = 700
# Generic headers of the C library and the like have no module behind them; a .pyx always has its contract.
MODULES = sorted(path.stem for path in SOURCES.glob("_*.pyx"))


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


@pytest.mark.parametrize("module", MODULES)
def test_compiled_module_has_contract_and_stub(module: str) -> None:
    assert (SOURCES / f"{module}.pxd").is_file()
    assert (SOURCES / f"{module}.pyi").is_file()


@pytest.mark.parametrize("name", [*(f"{module}.pxd" for module in MODULES), "_layout.pxd", "native/table.h"])
def test_what_other_programs_are_compiled_with_is_installed(name: str) -> None:
    assert (PACKAGE / name).is_file()


def test_files_are_short() -> None:
    suffixes = {".py", ".pyx", ".pxd", ".pxi", ".pyi", ".c", ".h"}
    files = [path for folder in ("src", "tests") for path in (ROOT / folder).rglob("*") if path.suffix in suffixes]
    lengths = {str(path.relative_to(ROOT)): path.read_bytes().count(b"\n") for path in files}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}
