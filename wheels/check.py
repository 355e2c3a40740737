#!/usr/bin/env python3
"""Checks wheels: what is in them, what they need of a machine, how big they are; with --install also that they work.

Needs pyelftools, which auditwheel brings. Run by wheels/build.py and, in its containers, by cibuildwheel.
"""

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from elftools.elf.elffile import ELFFile

PROGRAMS = ("/scripts/ts", "/scripts/tsp", "tsfast/native/ts-run")
LIBRARIES = re.compile(r"libc\.so\.6|libpthread\.so\.0|libm\.so\.6|ld-linux-.*|libc\.so|libc\.musl-.*\.so\.1")
WANTED = (
    *("tsfast/py.typed", "tsfast/native/table.h", "tsfast/layout/table.pxd", "man/man1/ts.1"),
    *("tsfast/client/encoder.pxd", "tsfast/client/reader.pxd"),
    *("completions/ts", "site-functions/_ts", "vendor_completions.d/ts.fish"),
)
NOT_SHIPPED = (".pyx", ".pxi", ".c", ".o", ".pyc", ".so.debug")
SOURCE_PATH = re.compile(rb"(?<![\w.+-])/(?!tsfast/)[\w.+-]+(?:/[\w.+-]+)+\.(?:c|h|pyx|pxd|py)\b")
LARGEST = 3_000_000  # bytes of a wheel; it has about 1.2 million
ANY_TOOL = ("sh", "sleep", "cat", "true")


class Wheel:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.errors: list[str] = []
        with zipfile.ZipFile(path) as archive:
            self.entries = {entry.filename: entry for entry in archive.infolist()}
            self.data = {name: archive.read(name) for name in self.entries}

    def expect(self, condition: object, complaint: str) -> None:
        if not condition:
            self.errors.append(complaint)

    def named(self, *endings: str) -> list[str]:
        return [name for name in self.data if name.endswith(endings)]

    def modules(self) -> list[str]:
        """The compiled ones, as tsfast/__init__.py knows them."""
        listed, _, _ = self.data["tsfast/_compiled.py"].decode().partition("PACKAGES")
        return re.findall(r'"(tsfast[\w.]+)"', listed)

    # ---- contents ----

    def check_files(self) -> None:
        for name in self.named(*NOT_SHIPPED):
            self.errors.append(f"{name} does not belong into a wheel")
        for ending in (*WANTED, *PROGRAMS):
            self.expect(self.named(ending), f"{ending} is missing")
        self.expect(len({entry.date_time for entry in self.entries.values()}) == 1, "the files have different times")
        self.expect(self.path.stat().st_size <= LARGEST, f"larger than {LARGEST:,} bytes")

    # ---- programs and modules ----

    def check_programs(self) -> None:
        for name in self.named(*PROGRAMS):
            if self.data[name][:4] != b"\x7fELF":
                self.errors.append(f"{name} is no program: auditwheel replaces one that needs more than libc")
                continue
            kinds = {segment["p_type"] for segment in ELFFile(io.BytesIO(self.data[name])).iter_segments()}
            self.expect("PT_INTERP" not in kinds, f"{name} is not static")
            self.expect(self.entries[name].external_attr >> 16 & 0o777 == 0o755, f"{name} cannot be executed")
        ts, tsp = (self.data[self.named(ending)[0]] for ending in PROGRAMS[:2])
        self.expect(ts == tsp, "ts and tsp differ")

    def check_modules(self) -> None:
        newest = (0, 0)
        self.expect(len(self.named(".so")) == 1, "the compiled modules are not in one shared object")
        expected = {f"PyInit_{module.rpartition('.')[2]}" for module in self.modules()}
        for name in self.named(".so"):
            elf = ELFFile(io.BytesIO(self.data[name]))
            for tag in elf.get_section_by_name(".dynamic").iter_tags():
                if tag.entry.d_tag == "DT_NEEDED":
                    self.expect(LIBRARIES.fullmatch(tag.needed), f"{name} needs {getattr(tag, 'needed', '')}")
                self.expect(tag.entry.d_tag not in ("DT_RPATH", "DT_RUNPATH"), f"{name} has a run path")
            differing = sorted(self.exports(elf) ^ expected)
            self.expect(not differing, f"{name} exports what it should not, or the other way round: {differing}")
            newest = max(newest, self.newest_glibc(elf))
        tags = re.findall(r"manylinux_(\d+)_(\d+)", self.path.name)
        if tags:
            self.expect(newest <= min((int(major), int(minor)) for major, minor in tags), f"needs glibc {newest}")
            print(f"newest glibc symbol: {newest[0]}.{newest[1]}")

    @staticmethod
    def exports(elf: ELFFile) -> set[str]:
        symbols = elf.get_section_by_name(".dynsym").iter_symbols()
        return {symbol.name for symbol in symbols if symbol["st_shndx"] != "SHN_UNDEF" and symbol.name[:1] not in "_"}

    @staticmethod
    def newest_glibc(elf: ELFFile) -> tuple[int, int]:
        section = elf.get_section_by_name(".gnu.version_r")
        versions = [version.name for _, group in section.iter_versions() for version in group] if section else []
        found = [re.fullmatch(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?", version) for version in versions]
        return max(((int(match[1]), int(match[2])) for match in found if match), default=(0, 0))

    def check_paths(self) -> None:
        """None of the machine that built it."""
        for name in self.named(*PROGRAMS, ".so"):
            found = {path.decode() for path in SOURCE_PATH.findall(self.data[name])}
            self.expect(not found, f"{name} names {sorted(found)}")

    def report_sizes(self) -> None:
        print(f"{self.path.name}: {self.path.stat().st_size:,} bytes")
        groups = {"programs": PROGRAMS, "modules": [".so"], "declarations": [".pxd", ".pyi", ".h"], "Python": [".py"]}
        for what, endings in groups.items():
            entries = [self.entries[name] for name in self.named(*endings)]
            size, packed = (sum(getattr(entry, key) for entry in entries) for key in ("file_size", "compress_size"))
            print(f"  {what:18} {len(entries):>4} files {size:>10,} bytes, compressed {packed:>9,}")


# ---- installed ----


def files_of(root: Path) -> Iterator[Path]:
    """Without those of pip, which compiles its own modules as it uses them."""
    for path in root.rglob("*"):
        inside = path.relative_to(root)
        if not any(part in ("pip", "setuptools") for part in inside.parts):
            yield inside


def check_installed(wheel: Wheel, python: str) -> None:
    """In an empty environment, with no compiler on PATH: one job; after pip uninstall nothing is left but the queue."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        venv, tools = place / "venv", place / "tools"
        subprocess.run([python, "-m", "venv", venv], check=True)
        tools.mkdir()
        for tool in ANY_TOOL:
            (tools / tool).symlink_to(shutil.which(tool) or tool)
        env = {key: value for key, value in os.environ.items() if not key.startswith(("TS_", "TSFAST_", "PYTHON"))}
        env |= {"PATH": f"{venv}/bin:{tools}", "TMPDIR": name}
        env |= {"TS_SOCKET": f"{place}/socket", "TS_STATE": f"{place}/state", "TSFAST_VAR_TMP": f"{place}/var"}

        def call(*words: str, ends: int = 0) -> str:
            done = subprocess.run(words, env=env, cwd=place, capture_output=True, text=True, timeout=300)
            wheel.expect(done.returncode == ends, f"{words} ended with {done.returncode}: {done.stdout}{done.stderr}")
            return done.stdout.strip()

        before = set(files_of(venv))
        call("python", "-m", "pip", "install", "-q", "--only-binary", ":all:", str(wheel.path.resolve()))
        try:
            main_job(wheel, call)
        finally:
            call("ts", "-K")
        call("python", "-m", "pip", "uninstall", "-q", "-y", "tsfast-spooler", "nvidia-ml-py")
        left = {path for path in files_of(venv) if path not in before and not (venv / path).is_dir()}
        wheel.expect(not left, f"pip uninstall leaves {sorted(map(str, left))}")
        wheel.expect((place / "state").is_dir(), "pip uninstall removed the queue")


def main_job(wheel: Wheel, call: Callable[..., str]) -> None:
    wheel.expect(call("ts", "sh", "-c", 'echo "from $TS_JOBID"; exit 3') == "0", "the first id is not 0")
    call("ts", "-w", "0", ends=3)
    wheel.expect(call("ts", "-c", "0", ends=3) == "from 0", "the output of the job is not there")
    wheel.expect(call("tsp", "true") == "1", "tsp does not queue")
    wheel.expect(call("tsfast", "true") == "2", "tsfast does not queue")
    wheel.expect("finished" in call("tsfast", "-l"), "tsfast -l does not list")
    code = "import tsfast\nwith tsfast.Queue() as queue:\n    print(queue.wait(queue.submit(['true']))[0].exit_code)"
    wheel.expect(call("python", "-c", code) == "0", "the Python interface does not work")
    wheel.expect(call("python", "-m", "tsfast", "-V") == call("ts", "-V"), "python -m tsfast is something else")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--install", metavar="PYTHON", help="try it in a new environment of this interpreter")
    parser.add_argument("wheels", type=Path, nargs="+")
    arguments = parser.parse_args()
    failed = False
    for path in arguments.wheels:
        wheel = Wheel(path)
        for check in (wheel.check_files, wheel.check_programs, wheel.check_modules, wheel.check_paths):
            check()
        wheel.report_sizes()
        if arguments.install:
            check_installed(wheel, arguments.install)
        for complaint in wheel.errors:
            print(f"{path.name}: {complaint}")
        failed = failed or bool(wheel.errors)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
