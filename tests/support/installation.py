"""Which build the tests run against: what is installed in the environment of pytest, all of it, and nothing else."""

import importlib.metadata
import json
import os
import re
import sys
import sysconfig
from pathlib import Path
from urllib.parse import unquote, urlsplit

import tsfast
import tsfast.lifecycle.start
import tsfast.store.table

DISTRIBUTION = "tsfast-spooler"
BIN = Path(sys.executable).parent
PACKAGE = Path(tsfast.__file__).resolve().parent
PACKAGES = PACKAGE.parent
NATIVE = PACKAGE / "native"  # the headers as they are installed, and ts-run
RUNNER = NATIVE / "ts-run"
TS = BIN / "ts"
MODULE = re.compile(r"/\S+/tsfast/[\w/]+\.\S+\.so$", re.MULTILINE)


def installed() -> Path | None:
    """The package's directory as pip knows it: in this environment, or the sources if it is installed in place."""
    places = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    for found in importlib.metadata.distributions(name=DISTRIBUTION, path=list(places)):
        origin = json.loads(found.read_text("direct_url.json") or "{}")
        if origin.get("dir_info", {}).get("editable"):
            return Path(unquote(urlsplit(origin["url"]).path), "src", "tsfast").resolve()
        return Path(str(found.locate_file("tsfast"))).resolve()
    return None


def debug_parts() -> dict[str, bool]:
    """What a debug build can be told by, for modules, runner and launcher."""
    return {
        "start": b"TSFAST_FAULT\0" in Path(tsfast.lifecycle.start.__file__).read_bytes(),
        "ts-run": b"TSFAST_FAULT\0" in RUNNER.read_bytes(),
        "ts": b".debug_info\0" in TS.read_bytes(),
    }


def has_probes() -> bool:
    """Whether it has what tests/probes adds to some modules: all builds for tests do, wheels do not."""
    return hasattr(tsfast.store.table, "TableProbe")


def wrong() -> str:
    """Why these are no tests of the environment's tsfast; empty if they are."""
    place = installed()
    if place is None:
        return f"{DISTRIBUTION} is not installed in {sys.prefix}"
    if place != PACKAGE:
        return f"tsfast is imported from {PACKAGE}, but {sys.prefix} has it in {place}"
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None) if name.partition(".")[0] == "tsfast" else None
        if file and PACKAGE not in Path(file).resolve().parents:
            return f"{name} is imported from {file}, but tsfast from {PACKAGE}"
    for program in (TS, BIN / "tsp", BIN / "tsfast", RUNNER):
        if not os.access(program, os.X_OK):
            return f"{program} is missing"
    if len(set(debug_parts().values())) > 1:
        return f"parts of a debug build and of another one: {debug_parts()}"
    return ""


def foreign_parts(pid: int) -> list[str]:
    """Modules of another build in a process, and a runner of another build."""
    try:
        loaded = set(MODULE.findall(Path(f"/proc/{pid}/maps").read_text()))
        program = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return []  # it has ended
    if program.endswith("/ts-run"):
        loaded.add(program)
    return sorted(path for path in loaded if PACKAGE not in Path(path).parents)
