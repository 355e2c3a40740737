"""Where the native programs of this installation are, and how to run its Python programs."""

import os
import sys

PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _directories() -> list[str]:
    """Their possible places, the likeliest first."""
    try:
        called = os.path.realpath(sys.argv[0])  # pipx and uv leave a link to the command where the user sees it
    except OSError:  # a relative path, and the working directory is gone
        called = ""
    beside = [os.path.dirname(called)] if os.path.basename(called) == "tsfast" else []
    return [
        *beside,
        os.path.normpath(os.path.join(PACKAGES, "../../../bin")),  # of PREFIX/lib/python3.N/site-packages
        os.path.join(PACKAGES, "bin"),  # pip install --target
        os.path.dirname(sys.executable),
    ]


def launcher() -> str:
    """The program `ts`; "" if it is gone. Other packages have a program of that name, but none with `tsfast` beside
    it."""
    for directory in _directories():
        if all(os.access(os.path.join(directory, name), os.X_OK) for name in ("ts", "tsfast")):
            return os.path.join(directory, "ts")
    return ""


def isolated(module: str, *words: str, program: str = "", site: bool = False) -> list[str]:
    """The command that runs main() of one of our modules, independent of the Python environment: PYTHON* variables, a
    directory with modules of standard names, the user's packages. Our directory comes after the standard library, for
    the same reason. program: the name it was called by; site: also find packages of the installation that are not
    beside ours."""
    ours = "import sys; sys.path.append(sys.argv.pop(1)); "
    name = "del sys.argv[0]; " if program else ""
    others = "import site; site.main(); " if site else ""
    code = f"{ours}{name}{others}from tsfast.{module} import main; sys.exit(main())"
    return [sys.executable, "-I", "-S", "-c", code, PACKAGES, *([program] if program else []), *words]


def environment() -> dict[bytes, bytes]:
    """The environment at the start of this process, because Python, and the shell that starts it, may have added
    variables."""
    try:
        with open("/proc/self/environ", "rb") as file:
            born = [item.partition(b"=") for item in file.read().split(b"\0") if b"=" in item]
    except OSError:
        return dict(os.environb)  # hidden: the present environment
    return {name: value for name, _, value in born}
