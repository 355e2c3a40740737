"""Builds the compiled modules and the two native programs; everything else stands in pyproject.toml.

- every .pyx below src/tsfast is an extension module; all of them are linked into one shared object, that of
  tsfast._core, in which tsfast/__init__.py finds them (PEP 489, "Multiple modules in one library");
- native/launcher/*.c is the program installed as `ts` and `tsp`, in place of setuptools' scripts;
- native/runner/*.c is `ts-run`, which the server opens from the package's directory.

TSFAST_STRICT=1, which the Makefile sets, makes warnings errors. TSFAST_DEBUG=1 compiles in the fault points and
asserts, TSFAST_SANITIZE=1 adds ASan and UBSan, which report to files in the environment's directory `reports`;
TSFAST_APART=1 makes a shared object of each module; TSFAST_PROBES=1 adds what shows tests the inside of some modules
(tests/probes), as builds in place and debug builds have it anyway; TSFAST_COVERAGE=1 counts executed lines;
TSFAST_NATIVE_CC is the compiler of the programs. See CONTRIBUTING.md.
"""

import ast
import gzip
import multiprocessing
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import Cython
from Cython.Compiler import Options
from setuptools import Command, Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext  # Cython's, since Cython is there
from setuptools.command.sdist import sdist
from setuptools.errors import CompileError

os.chdir(Path(__file__).resolve().parent)  # the paths below are relative, as setuptools wants them

PACKAGE = Path("src/tsfast")
NATIVE = PACKAGE / "native"
VERSION = re.search(r'^__version__ = "(.+)"', (PACKAGE / "__init__.py").read_text(), re.MULTILINE)[1]
DEBUG = os.environ.get("TSFAST_DEBUG", "") not in ("", "0")
SANITIZE = os.environ.get("TSFAST_SANITIZE", "") not in ("", "0")
COVERAGE = os.environ.get("TSFAST_COVERAGE", "") not in ("", "0")
APART = os.environ.get("TSFAST_APART", "") not in ("", "0")
PROBES = DEBUG or APART or os.environ.get("TSFAST_PROBES", "") not in ("", "0")

OPTIMISE = ["-O1", "-g", "-UNDEBUG", "-DTSFAST_FAULTS"] if DEBUG else ["-O2", "-g0"]
STRICT = os.environ.get("TSFAST_STRICT", "") not in ("", "0")  # a later compiler or Python may know more of them
WARNINGS = ["-Wall", "-Wextra", *(["-Werror"] if STRICT and not SANITIZE else [])]  # sanitizers make gcc guess wrongly
GENERATED = [  # what Cython's output needs
    "-Wno-sign-compare",  # temporaries for range(), len() and enum values are signed
    "-Wno-missing-field-initializers",  # Python 3.15's PyTypeObject has a field that Cython 3.3 does not know
]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
DEFINE_VERSION = f'-DTSFAST_VERSION="{VERSION}"'

COMPILE_ARGS = ["-std=gnu11", "-fvisibility=hidden", *OPTIMISE, *WARNINGS, *GENERATED, DEFINE_VERSION]
LINK_ARGS = []
if SANITIZE:
    COMPILE_ARGS += [*SANITIZERS, "-fno-wrapv"]  # Python's own -fwrapv would hide signed overflow
    LINK_ARGS += SANITIZERS

if COVERAGE:
    COMPILE_ARGS += ["-O0", "--coverage", "-DTSFAST_COVERAGE"]
    LINK_ARGS += ["--coverage"]

DIRECTIVES = {"language_level": 3, "auto_pickle": False, "autotestdict": False, "cdivision": True}
Options.warning_errors = STRICT


def say(text):
    """A line for the Makefile, which shows these of all that pip and the compilers print."""
    sys.stdout.write(f"tsfast: {text}\n")  # at once: several modules are compiled at a time
    sys.stdout.flush()


def files(directory, *patterns):
    return sorted(path.as_posix() for pattern in patterns for path in directory.glob(pattern))


# ---- compiled modules ----


def module_name(source):
    return ".".join(Path(source).relative_to("src").with_suffix("").parts)


def modules(probes):
    """Name and source of each. Those that are called probe are for tests."""
    sources = files(PACKAGE, "**/*.pyx")
    return {module_name(source): source for source in sources if probes or Path(source).stem != "probe"}


def bare_packages():
    """Those whose __init__.py says what they are for, and nothing else."""
    sources = files(PACKAGE, "*/**/__init__.py")
    return [module_name(Path(source).parent) for source in sources if not has_code(source)]


def has_code(source):
    body = ast.parse(Path(source).read_text()).body
    return not all(isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) for statement in body)


def check_leaves(names):
    """In one shared object each module has a PyInit_ of its own, which is named after the last part of its name."""
    leaves = Counter(name.rpartition(".")[2] for name in names)
    if twice := [leaf for leaf, number in leaves.items() if number > 1]:
        raise CompileError(f"more than one compiled module is called {', '.join(twice)}")


def extensions():
    """The shared objects. What they are linked of is compiled by BuildExtensions."""
    return [Extension(name, []) for name in (modules(PROBES) if APART else ["tsfast._core"])]


def is_current(built, dependencies):
    """Whether nothing that the compiler read, as it has written to `dependencies`, is newer than what it made."""
    try:
        made = built.stat().st_mtime_ns
        read = shlex.split(dependencies.read_text().partition(": ")[2].replace("\\\n", " "))
        return all(os.stat(path).st_mtime_ns <= made for path in read)
    except OSError:
        return False


class BuildExtensions(build_ext):
    """Translates and compiles modules in parallel, rebuilds only what changed, and says how far it is.

    Builds in place (editable ones too) keep their intermediate files under build/, so the next one is quick.
    """

    def finalize_options(self):
        super().finalize_options()
        self.cython_c_in_temp = True
        self.parallel = self.parallel or os.cpu_count()

    def run(self):
        build_lib, build_temp = self.build_lib, self.build_temp
        if self.editable_mode or self.inplace:
            self.build_temp = f"build/inplace-{sys.implementation.cache_tag}"
            self.build_lib = f"{self.build_temp}/lib"
        stamp = Path(self.build_temp, "settings")
        self.probes = PROBES or self.editable_mode or self.inplace
        self.modules = modules(self.probes)
        check_leaves(self.modules)
        settings = (sys.version, Cython.__version__, COMPILE_ARGS, LINK_ARGS, DIRECTIVES, os.environ.get("CC"))
        settings = repr((*settings, self.probes))
        if self.force or not stamp.is_file() or stamp.read_text() != settings:
            self.force = True
            stamp.unlink(missing_ok=True)  # until all is compiled anew
        try:
            super().run()
            self.write_list()
            self.remove_old()
        finally:
            self.build_lib, self.build_temp = build_lib, build_temp
        stamp.write_text(settings)

    def build_extensions(self):
        from Cython.Build import cythonize

        multiprocessing.set_start_method("fork", force=True)  # so that Cython's processes have our Options
        translated = cythonize(
            [Extension(name, [source]) for name, source in self.modules.items()],
            build_dir=self.build_temp,
            include_path=["src", self.directory_of_probes()],
            compiler_directives=DIRECTIVES,
            force=self.force,
            quiet=self.verbose == 0,
            nthreads=self.parallel,
        )
        self.compiled = 0
        with ThreadPoolExecutor(self.parallel) as pool:
            objects = dict(zip(self.modules, pool.map(self.compile_module, translated), strict=True))
        for extension in self.extensions:  # what is left to do is to link
            extension.extra_objects = [objects[extension.name]] if APART else list(objects.values())
            extension.depends = extension.extra_objects
            extension.extra_link_args = LINK_ARGS
        stamp = Path(self.build_temp, "linked")
        linked = repr([(extension.name, extension.extra_objects) for extension in self.extensions])
        if not stamp.is_file() or stamp.read_text() != linked:
            self.force = self.compiler.force = True  # to link: all is compiled
            stamp.unlink(missing_ok=True)
        super().build_extensions()
        stamp.write_text(linked)

    def directory_of_probes(self):
        there = Path("tests", "probes")
        if self.probes:
            return str(there)
        empty = Path(self.build_temp, "no-probes")
        empty.mkdir(parents=True, exist_ok=True)
        for name in files(there, "*.pxi"):
            (empty / Path(name).name).write_text("")
        return str(empty)

    def compile_module(self, module):
        (source,) = module.sources
        (built,) = map(Path, self.compiler.object_filenames([source]))
        dependencies = built.with_suffix(".d")
        if not self.force and is_current(built, dependencies):
            return str(built)
        self.compiler.compile(
            [source],
            include_dirs=["src"],
            extra_postargs=[*COMPILE_ARGS, "-MMD", "-MF", str(dependencies)],
        )
        self.compiled += 1
        if self.compiled % 10 == 0:
            say(f"{self.compiled} modules are compiled")
        return str(built)

    def place_of(self, build_lib):
        return PACKAGE if self.editable_mode or self.inplace else Path(build_lib, "tsfast")

    def write_list(self):
        """For tsfast/__init__.py, which finds modules and packages, and `tsfast doctor`, which tries the modules."""
        text = '"""Written by setup.py."""\n\n' + f"TOGETHER = {not APART}\n"
        for what, names in (("MODULES", self.modules), ("PACKAGES", bare_packages())):
            text += f"{what} = frozenset((\n" + "".join(f'    "{name}",\n' for name in names) + "))\n"
        place = self.place_of(self.build_lib) / "_compiled.py"
        if not place.is_file() or place.read_text() != text:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    def remove_old(self):
        """Shared objects for this interpreter that are no longer made."""
        place = self.place_of(self.build_lib)
        made = {Path(self.get_ext_filename(extension.name)).relative_to("tsfast") for extension in self.extensions}
        suffix = self.get_ext_filename("_core").partition(".")[2]
        for path in place.rglob(f"*.{suffix}"):
            if path.relative_to(place) not in made:
                path.unlink()


# ---- native programs ----


def links(compiler):
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "probe.c")
        source.write_text('#include <stdio.h>\nint main(void) { return puts("") < 0; }\n')
        try:
            result = subprocess.run([*compiler, "-o", f"{directory}/probe", str(source)], capture_output=True)
        except OSError:
            return False
        return result.returncode == 0


def native_compiler():
    """A static program starts in a fraction of the time, a static musl one fastest of all; none can have ASan."""
    if chosen := os.environ.get("TSFAST_NATIVE_CC"):
        return shlex.split(chosen)
    cc = shlex.split(os.environ.get("CC") or "cc")
    if SANITIZE:
        return [*cc, "@tests/support/sanitized/native.flags"]
    for compiler in (["musl-gcc", "-static"], [*cc, "-static"]):
        if shutil.which(compiler[0]) and links(compiler):
            return compiler
    return cc


def compile_native(directory, output):
    sources = files(directory, "*.c")
    if not sources:
        raise CompileError(f"no C sources in {directory}")
    compiler = native_compiler()
    command = [*compiler, "-std=gnu11", *WARNINGS, *OPTIMISE, *([] if DEBUG else ["-s"])]
    command += [DEFINE_VERSION, f"-I{NATIVE}", f"-I{PACKAGE}", "-Isrc", "-o", str(output), *sources]
    if SANITIZE:
        command += [f'-DREPORTS="{sys.prefix}/reports"', "tests/support/sanitized/defaults.c"]
    say(f"{Path(output).name} is compiled with: {shlex.join(compiler)}")
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    Path(output).unlink(missing_ok=True)  # a running program's file cannot be written
    if subprocess.run(command).returncode:
        raise CompileError(f"failed: {shlex.join(command)}")
    Path(output).chmod(0o755)


class BuildScripts(Command):
    """Compiles the launcher, in place of the copying of script texts."""

    description = "compile ts and tsp"
    user_options = [("build-dir=", "d", "directory to build in")]  # noqa: RUF012

    def initialize_options(self):
        self.build_dir = None
        self.force = None
        self.executable = None  # set by editable_wheel, means nothing to a program

    def finalize_options(self):
        self.set_undefined_options("build", ("build_scripts", "build_dir"), ("force", "force"))

    def get_source_files(self):
        return files(NATIVE / "launcher", "*.[ch]") + files(NATIVE, "*.h")

    def run(self):
        compile_native(NATIVE / "launcher", Path(self.build_dir, "ts"))
        Path(self.build_dir, "tsp").unlink(missing_ok=True)
        shutil.copy2(Path(self.build_dir, "ts"), Path(self.build_dir, "tsp"))


class BuildRunner(Command):
    """Compiles ts-run into the package; for an editable install into the package's source directory."""

    description = "compile ts-run"
    user_options = [("build-lib=", "d", "directory to build in"), ("inplace", "i", "build in src")]  # noqa: RUF012
    boolean_options = ["inplace"]  # noqa: RUF012
    editable_mode = False

    def initialize_options(self):
        self.build_lib = None
        self.inplace = False

    def finalize_options(self):
        self.set_undefined_options("build", ("build_lib", "build_lib"))

    def _built(self):
        return Path(self.build_lib, "tsfast", "native", "ts-run").as_posix()

    def get_source_files(self):
        return files(NATIVE / "runner", "*.[ch]") + files(NATIVE, "*.h")

    def get_outputs(self):
        return [self._built()]

    def get_output_mapping(self):
        return {self._built(): (NATIVE / "ts-run").as_posix()} if self.editable_mode else {}

    def run(self):
        compile_native(NATIVE / "runner", NATIVE / "ts-run" if self.editable_mode or self.inplace else self._built())


class Build(build):
    def initialize_options(self):
        super().initialize_options()
        if DEBUG:
            self.build_base = "build/debug"
        if COVERAGE:
            self.build_base = "build/coverage"

    sub_commands = [*build.sub_commands, ("build_runner", None)]  # noqa: RUF012


class Sdist(sdist):
    """An archive that depends on nothing but the files: neither on their owners and times, nor on the umask."""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, owner=None, group=None):
        if format != "gztar":
            return super().make_archive(base_name, format, root_dir, base_dir, owner, group)
        epoch = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
        name = f"{base_name}.tar.gz"
        Path(name).parent.mkdir(parents=True, exist_ok=True)

        def plain(entry):
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = epoch
            entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
            return entry

        with (
            open(name, "wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=epoch) as compressed,
            tarfile.open(name, "w", fileobj=compressed) as archive,
        ):
            archive.add(base_dir, filter=plain)  # in the order of names
        return name


if __name__ == "__main__":
    setup(
        ext_modules=extensions(),
        scripts=files(NATIVE / "launcher", "*.c"),
        cmdclass={
            "build": Build,
            "build_ext": BuildExtensions,
            "build_runner": BuildRunner,
            "build_scripts": BuildScripts,
            "sdist": Sdist,
        },
    )
