"""The installation: package, compiled modules, launcher, runner, the names on PATH, and optional parts."""

import importlib
import importlib.metadata
import importlib.util
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import tsfast
from tsfast._compiled import MODULES
from tsfast.cli.doctor.finding import Finding, error, ok, warning

DISTRIBUTION = "tsfast-spooler"
AGAIN = f"install {DISTRIBUTION} again"
PACKAGE = os.path.dirname(os.path.abspath(tsfast.__file__))
RUNNER = os.path.join(PACKAGE, "native", "ts-run")
SENDMAIL_PLACES = "/usr/sbin:/usr/lib"
ELF = b"\x7fELF"
MOST_OF_A_PROGRAM = 1 << 20


def package() -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield ok("package", f"tsfast {tsfast.__version__} in {PACKAGE}, Python {python} ({sys.executable})")
    try:
        told = importlib.metadata.version(DISTRIBUTION)
        if told != tsfast.__version__:
            yield warning("package", f"installed as {told}, but its files are of {tsfast.__version__}", AGAIN)
    except importlib.metadata.PackageNotFoundError:
        yield warning("package", f"its files are there, but {DISTRIBUTION} is not installed", AGAIN)
    broken = []
    for name in sorted(MODULES):
        try:
            importlib.import_module(name)
        except ImportError as failure:
            broken.append(f"{name} ({failure})")
    if broken:
        yield error("package", f"compiled modules that cannot be imported: {', '.join(broken)}", AGAIN)
    else:
        yield ok("package", f"{len(MODULES)} compiled modules")


def unusable(path: str) -> str:
    """Why a native program cannot run; empty if it can."""
    try:
        with open(path, "rb") as file:
            if file.read(4) != ELF:
                return "is not an ELF program"
        if os.statvfs(path).f_flag & os.ST_NOEXEC:
            return "is on a file system mounted with noexec"
    except OSError as failure:
        return f"cannot be read: {failure.strerror}"
    return "" if os.access(path, os.X_OK) else "is not executable"


def runner() -> Iterator[Finding]:
    why = unusable(RUNNER)
    yield error("runner", f"{RUNNER} {why}: no job can start", AGAIN) if why else ok("runner", RUNNER)


# ---- the launcher ----


def launcher_path() -> str:
    from tsfast.location import programs

    # Where it is not, the place is named where it would be.
    return programs.launcher() or os.path.join(os.path.dirname(os.path.abspath(sys.executable)), "ts")


def launcher(seconds: float) -> Iterator[Finding]:
    from tsfast.client import encoder

    path = launcher_path()
    why = unusable(path)
    if why:
        yield error("launcher", f"{path} {why}", AGAIN)
        return
    try:
        place = tempfile.TemporaryDirectory(prefix="tsfast-doctor-")
    except OSError as failure:
        what = f"{path} was not tried, no temporary directory can be made: {failure.strerror}"
        yield warning("launcher", what, "free space in /tmp, or set TMPDIR")
        return
    try:
        with place as directory:
            release, wire = call_of(path, directory, seconds)
    except (OSError, ValueError) as failure:
        yield error("launcher", f"{path} cannot make a call: {failure}", AGAIN)
        return
    from tsfast.client import connection

    if wire != encoder.WIRE_VERSION or release != encoder.release(connection.VERSION):
        yield error("launcher", f"{path} is of another release than the package, {tsfast.__version__}", AGAIN)
    else:
        yield ok("launcher", f"{path}, of the same release")


def call_of(program: str, directory: str, seconds: float) -> tuple[int, int]:
    """Release and wire version of a call that the launcher makes to a socket of this check. Raises OSError,
    ValueError."""
    from tsfast.client import connection, encoder

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.join(directory, "socket"))
        listener.listen()
        child = subprocess.Popen(
            [program, "-R"],  # changes nothing, should it reach a server after all
            env={**os.environ, "TS_SOCKET": listener.getsockname()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert child.stdout is not None
        try:
            ready, _, _ = select.select([listener.fileno(), child.stdout.fileno()], [], [], seconds)
            if listener.fileno() not in ready:
                said = os.read(child.stdout.fileno(), 200).decode(errors="replace") if ready else "nothing"
                raise ValueError(f"it says {said.strip() or 'nothing'}")
            call, _ = listener.accept()
            with call:
                call.settimeout(seconds)
                head = call.recv(connection.FRAME.size, socket.MSG_WAITALL)
                call.sendall(connection.FRAME.pack(encoder.WIRE_VERSION, encoder.EXIT, 4, 0) + bytes(4))
                wire, _, _, release = connection.FRAME.unpack(head.ljust(connection.FRAME.size, b"\0"))
                return release, wire
        finally:
            child.kill()
            child.communicate()


# ---- what is found by name ----


def path() -> Iterator[Finding]:
    """The programs that a shell runs for each of our commands."""
    directory = os.path.dirname(launcher_path())
    for name in ("ts", "tsp", "tsfast"):
        ours, found = os.path.join(directory, name), shutil.which(name)
        first = f"put {directory} before {os.path.dirname(found)} on PATH" if found else ""
        if found is None:
            yield warning("path", f"`{name}` is not found", f"add {directory} to PATH")
        elif same(found, ours):
            yield ok("path", f"`{name}` is {found}")
        elif name == "tsfast":
            yield warning("path", f"`tsfast` is {found}, of another installation", first)
        else:
            yield warning("path", f"`{name}` is {found}, {whose(found)}", f"{first}, or call tsfast instead")


def same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other) or content(one) == content(other)
    except OSError:
        return False


def content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(MOST_OF_A_PROGRAM)


def whose(path: str) -> str:
    """The package of a program called `ts` or `tsp`, as far as it can be recognised."""
    try:
        data = content(path)
    except OSError:
        return "another program"
    if b"perl" in data.partition(b"\n")[0]:
        return "the time stamper of moreutils"
    if b"Task Spooler" in data:
        return "Task Spooler"
    beside = os.path.join(os.path.dirname(os.path.realpath(path)), "tsfast")
    return "of another installation of tsfast" if os.path.exists(beside) else "another program"


def extras() -> Iterator[Finding]:
    """What only some options need."""
    there: list[str] = []
    missing: list[str] = []
    for module, what in (("numpy", "arrays in Python"), ("pynvml", "GPUs: install nvidia-ml-py")):
        found = importlib.util.find_spec(module) is not None
        (there if found else missing).append(module if found else f"{module} ({what})")
    for program, places, what in (("gzip", "", "-z"), ("sendmail", SENDMAIL_PLACES, "-m")):
        found = shutil.which(program) is not None or shutil.which(program, path=places or None) is not None
        (there if found else missing).append(program if found else f"{program} ({what})")
    text = f"{', '.join(there) or 'none'}{'; not there: ' if missing else ''}{', '.join(missing)}"
    if importlib.util.find_spec("pynvml") is None:
        yield warning("extras", text, "install nvidia-ml-py, which GPU jobs need")
    else:
        yield ok("extras", text)
