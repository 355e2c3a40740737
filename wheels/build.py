#!/usr/bin/env python3
"""Builds the wheel of this machine as it would be published, without containers, and the sdist; then checks them.

The compiler is zig: it links against an old C library, and the programs statically against musl. Everything is built
twice, in directories of different names with caches of their own: the sdist from the tree, the wheel once from the tree
and once from the sdist. Both times the same bytes must come out. wheels/README.md has the rest.
"""

import argparse
import contextlib
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "wheels"
REQUIREMENTS = ROOT / "wheels" / "requirements.txt"
TESTS = ROOT / "wheels" / "tests.txt"
GLIBC = "2.28"
OURS = ("TSFAST_", "PYTHON", "ZIG_")  # variables that would change what is built
FLAGS = {"CC", "CXX", "CFLAGS", "CPPFLAGS", "LDFLAGS", "LDSHARED", "VIRTUAL_ENV"}
BEGIN = time.monotonic()


def step(text: str) -> None:
    print(f"== {text} ({time.monotonic() - BEGIN:.0f} s)", flush=True)


def run(*command: object, cwd: Path = ROOT, env: dict[str, str] | None = None, log: Path | None = None) -> None:
    """With a log, what it prints is shown only if it fails."""
    words = [str(word) for word in command]
    with log.open("ab") if log else contextlib.nullcontext() as file:
        done = subprocess.run(words, cwd=cwd, env=env, stdout=file, stderr=file, check=False)
    if done.returncode:
        told = log.read_text(errors="replace") if log else ""
        sys.exit(f"{told}failed with {done.returncode}: {shlex.join(words)}")


def output(*command: object) -> str:
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout.strip()


def tools_for(python: str, tag: str) -> Path:
    """The bin of an environment of that interpreter with what wheels/requirements.txt says."""
    directory = WORK / f"tools-{tag}"
    stamp = directory / "made-of"
    made_of = f"{python}\n{REQUIREMENTS.read_text()}"
    if not stamp.is_file() or stamp.read_text() != made_of:
        shutil.rmtree(directory, ignore_errors=True)
        run(python, "-m", "venv", directory)
        run(directory / "bin" / "python", "-m", "pip", "install", "-q", "-r", REQUIREMENTS)
        stamp.write_text(made_of)
    return directory / "bin"


# ---- the tree ----


def is_checkout() -> bool:
    return (ROOT / ".git").exists()


def source_date() -> str:
    """Of the last commit, in seconds; without git the first day that a zip archive can hold."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return given
    return output("git", "-C", ROOT, "log", "-1", "--format=%ct") if is_checkout() else "315532800"


def copy_tree(to: Path) -> Path:
    """What git knows, as it is in the working tree."""
    if is_checkout():
        names = output("git", "-C", ROOT, "ls-files", "-z").split("\0")
        names = [name for name in names if name and (ROOT / name).is_file()]
        if output("git", "-C", ROOT, "--no-optional-locks", "status", "--porcelain"):
            print("the tree has changes that are not committed; they are built too, new files are not")
    else:
        left_out = {"build", "dist", "__pycache__"}
        files = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
        names = [str(path) for path in files if not left_out & set(path.parts) and path.suffix not in (".so", ".o")]
    for name in names:
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
        target.chmod(0o755 if target.stat().st_mode & 0o100 else 0o644)  # whatever the umask of the checkout was
    return to


def unpack(sdist: Path, to: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(to, filter="data")
    (inside,) = to.iterdir()
    return inside


# ---- building ----


def include_directory(python: Path, arch: str, place: Path) -> list[str]:
    """Debian's Python.h includes files that are in /usr/include: not to be mixed with the headers that zig brings.

    It asks for the pyconfig.h of the architecture compiled for, and gets ours: sizes and byte order are the same.
    """
    code = "import sysconfig; print(sysconfig.get_path('include'), sysconfig.get_config_var('MULTIARCH') or '')"
    include, _, multiarch = output(python, "-c", code).partition(" ")
    split = Path("/usr/include", multiarch, Path(include).name)
    if not multiarch or not split.is_dir() or not include.startswith("/usr/include/"):
        return []
    link = place / "include" / multiarch.replace(platform.machine(), arch) / split.name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(split)
    return [f"-I{place}/include"]


def environment(bin_directory: Path, arch: str, place: Path) -> dict[str, str]:
    python = bin_directory / "python"
    zig = [python, "-m", "ziglang", "cc"]
    libc = [*zig, "-target", f"{arch}-linux-gnu.{GLIBC}"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS) and name not in FLAGS}
    made = {
        "PATH": f"{bin_directory}:{os.environ['PATH']}",
        "SOURCE_DATE_EPOCH": source_date(),
        "CC": shlex.join(map(str, [*libc, *include_directory(python, arch, place)])),
        "LDSHARED": shlex.join(map(str, [*libc, "-shared", "-s"])),
        "TSFAST_NATIVE_CC": shlex.join(map(str, [*zig, "-target", f"{arch}-linux-musl", "-static"])),
        "ZIG_GLOBAL_CACHE_DIR": f"{place}/zig",
        "ZIG_LOCAL_CACHE_DIR": f"{place}/zig",
    }
    if arch != platform.machine():
        code = "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))"
        suffix = output(python, "-c", code)
        made["_PYTHON_HOST_PLATFORM"] = f"linux-{arch}"
        made["SETUPTOOLS_EXT_SUFFIX"] = suffix.replace(platform.machine(), arch)
    return {**kept, **made}


def build_sdist(tree: Path, env: dict[str, str], log: Path) -> Path:
    code = "from setuptools import build_meta; build_meta.build_sdist('dist')"
    run("python", "-c", code, cwd=tree, env=env, log=log)
    (sdist,) = (tree / "dist").glob("*.tar.gz")
    return sdist


def build_wheel(tree: Path, env: dict[str, str], arch: str, log: Path) -> Path:
    """Built and repaired. auditwheel strips only for the machine it runs on; the linker has done it already."""
    run("python", "-m", "pip", "wheel", "-v", "--no-build-isolation", "--no-deps", "-w", "raw", ".",
        cwd=tree, env=env, log=log)  # fmt: skip
    (raw,) = (tree / "raw").glob("*.whl")
    ours = ["--strip", "--plat", f"manylinux_{GLIBC.replace('.', '_')}_{arch}"]
    run("auditwheel", "repair", *(ours if arch == platform.machine() else []), "-w", "repaired", raw,
        cwd=tree, env=env, log=log)  # fmt: skip
    (repaired,) = (tree / "repaired").glob("*.whl")
    return repaired


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def must_equal(first: Path, second: Path) -> None:
    if digest(first) != digest(second):
        sys.exit(f"two builds differ: {first} and {second}")
    print(f"twice the same: {digest(first)}  {first.name}")


def build(arguments: argparse.Namespace, tag: str) -> tuple[Path, Path]:
    """The wheel and the sdist, in the directory for results."""
    first = WORK / f"{tag}-{arguments.arch}"
    second = WORK / f"{tag}-{arguments.arch}-again" / "in" / "another" / "place"
    for old in WORK.glob(f"{first.name}*"):
        shutil.rmtree(old)
    step(f"tools for {tag}")
    bin_directory = tools_for(arguments.python, tag)
    envs = []
    for place in (first, second):
        place.mkdir(parents=True)
        envs.append(environment(bin_directory, arguments.arch, place))
    log = first / "log"

    step("sdist")
    clean = copy_tree(first / "clean")
    sdist = build_sdist(copy_tree(first / "tree"), envs[0], log)
    again = build_sdist(copy_tree(second / "tree"), envs[1], log)
    must_equal(sdist, again)
    step("wheel from the tree")
    wheel = build_wheel(clean, envs[0], arguments.arch, log)
    if not arguments.once:
        step("wheel from the sdist")
        must_equal(wheel, build_wheel(unpack(again, second / "unpacked"), envs[1], arguments.arch, log))
    arguments.out.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(wheel, arguments.out)), Path(shutil.copy(sdist, arguments.out))


def check(wheel: Path, arguments: argparse.Namespace, tag: str) -> None:
    step("checks")
    tools = tools_for(arguments.python, tag)
    native = arguments.arch == platform.machine()
    run(tools / "check-wheel-contents", wheel)
    run(tools / "python", "wheels/check.py", *(["--install", arguments.python] if native else []), wheel)
    if not native or arguments.tests == "none":
        return
    step(f"tests: {arguments.tests}")
    installed = WORK / f"{tag}-{arguments.arch}" / "tested"
    run(arguments.python, "-m", "venv", installed)
    compiled = ["-r", REQUIREMENTS] if arguments.tests == "all" else []  # for an example
    run(installed / "bin" / "python", "-m", "pip", "install", "-q", f"{wheel}[test]", *compiled)
    chosen = [f"@{TESTS}"] if arguments.tests == "some" else ["--ignore=tests/system/fault"]
    run(installed / "bin" / "pytest", *chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", default=sys.executable, help="of this interpreter (default: ours)")
    parser.add_argument("--arch", default=platform.machine(), choices=["x86_64", "aarch64"])
    parser.add_argument("--out", type=Path, default=ROOT / "wheels" / "dist")
    parser.add_argument("--once", action="store_true", help="do not build a second time to compare")
    parser.add_argument("--tests", choices=["none", "some", "all"], default="some", help="against the installed wheel")
    arguments = parser.parse_args()
    arguments.out = arguments.out.resolve()
    os.umask(0o022)
    tag = output(arguments.python, "-c", "import sys; print('cp%d%d' % sys.version_info[:2])")
    results = build(arguments, tag)
    check(results[0], arguments, tag)
    step("done")
    for path in results:
        print(f"{digest(path)}  {path.stat().st_size:>9,}  {path}")


if __name__ == "__main__":
    main()
