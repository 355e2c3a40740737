"""Puts an interpreter that is linked with the sanitizers into this environment, in place of its own."""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from support import reports  # noqa: E402

SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]


def main() -> None:
    settings = sysconfig.get_config_vars()
    place = Path(sys.prefix, "bin", "python")
    new = place.with_name("python.new")
    reports.make_directory()
    folders = [folder for folder in (settings["LIBDIR"], settings["LIBPL"]) if folder]
    command = [*shlex.split(os.environ.get("CC") or "cc"), "-g", *SANITIZERS, f'-DREPORTS="{reports.DIRECTORY}"']
    command += [f"-I{sysconfig.get_path('include')}", "-o", str(new)]
    command += [str(HERE / "interpreter.c"), str(HERE / "defaults.c"), *(f"-L{folder}" for folder in folders)]
    command += ["-Wl,--export-dynamic", "-Wl,--whole-archive", f"-lpython{settings['LDVERSION']}"]
    command += ["-Wl,--no-whole-archive", f"-Wl,-rpath,{settings['LIBDIR']}"]
    subprocess.run([*command, *shlex.split(f"{settings['LIBS']} {settings['SYSLIBS']}")], check=True)
    os.replace(new, place)  # it was a link to the interpreter of the environment's home
    for name in ("python3", f"python{settings['VERSION']}"):
        place.with_name(name).unlink(missing_ok=True)
        place.with_name(name).symlink_to("python")
    reports.clear()
    subprocess.run([place, "-I", "-c", "import ctypes; ctypes.string_at(ctypes.create_string_buffer(100), 9999)"])
    assert "heap-buffer-overflow" in reports.take(), "this interpreter would not notice anything"


if __name__ == "__main__":
    main()
