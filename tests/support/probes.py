"""Compiled probes (tests/probes/*.pyx): they cimport from the package as other programs do, and show tests what nothing
in Python calls."""

import functools
import importlib.machinery
import importlib.util
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

from support import compiled
from support.installation import PACKAGE, PACKAGES
from support.places import TESTS


@functools.cache
def probe(name: str) -> ModuleType:
    """The module, compiled once for a run of tests. Its tests are left out only against a wheel without Cython."""
    if not (PACKAGE / "_core.pyx").is_file():
        pytest.importorskip("Cython")
    library, error = _compiled(name)
    if error:
        pytest.fail(error, pytrace=False)
    loader = importlib.machinery.ExtensionFileLoader(name, str(library))
    spec = importlib.util.spec_from_file_location(name, library, loader=loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@functools.cache
def _compiled(name: str) -> tuple[Path, str]:
    """The shared object, and what the compilers said if there is none."""
    folder = compiled.folder()
    translated, library = folder / f"{name}.c", folder / f"{name}.so"
    cython = [sys.executable, "-m", "cython", "-3", "-I", PACKAGES, "-o", translated, TESTS / "probes" / f"{name}.pyx"]
    flags = ["-shared", "-fPIC", "-O1", "-w", f"-I{sysconfig.get_path('include')}", f"-I{PACKAGES}"]
    cc = shlex.split(sysconfig.get_config_var("CC") or "cc")
    for command in (cython, [*cc, *flags, "-o", library, translated]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return library, done.stdout + done.stderr
    return library, ""
