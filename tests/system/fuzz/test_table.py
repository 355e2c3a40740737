"""The reader of the table on damaged files: it lists, or says what is wrong; it never reads past what is there."""

import functools
import os
import random
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.queues import Queue
from tsfast.client.reader import NONE, Reader
from tsfast.grammar.options import FORMATS
from tsfast.render.listing import TableError, live_jobs, write_list

NUMBERS = [0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of a queue with jobs of many kinds."""
    queue = Queue(tmp_path_factory.mktemp("table"))
    queue.get("-S", 2)
    queue.finish("true")
    queue.finish("-L", "label \u20ac\n", "sh", "-c", "exit 3")
    queue.get("-n", "false")
    queue.submit("-z", "false")
    queue.submit("-W", 1, "true", env={"MORE": "x" * 100})
    blocker, _ = queue.blocker("-N", 2)
    queue.submit("-D", f"{blocker},0", "-W", blocker, "-O", "name", "echo", "a" * 300)
    queue.get("-r", queue.submit("true"))
    assert queue.run("--log", "x{id}", "--append", "-m", "true", cwd="/").returncode == 0
    queue.run("-G", 1, "-L", "", "true")
    copy = tmp_path_factory.mktemp("copy") / "state"
    shutil.copytree(queue.state_dir, copy)
    queue.end()
    yield copy


@functools.cache
def used(path: Path) -> list[int]:
    """Places of a file that hold something."""
    data = path.read_bytes()
    return [at for at in range(0, len(data), 64) if any(data[at : at + 64])] or [0]


def damage(path: Path, original: Path, rng: random.Random) -> None:
    with path.open("r+b") as file:
        for _ in range(rng.choice((1, 1, 2, 5, 20))):
            at = rng.choice(used(original)) + rng.randrange(64)
            kind = rng.randrange(5)
            if kind == 0:
                file.seek(at)
                byte = file.read(1) or b"\0"
                data = bytes([byte[0] ^ 1 << rng.randrange(8)])
            elif kind == 1:
                at, data = at & ~3, struct.pack("=I", rng.choice(NUMBERS))
            elif kind == 2:
                at, data = at & ~7, struct.pack("=Q", rng.choice(NUMBERS) << rng.choice((0, 32)))
            elif kind == 3:
                data = rng.randbytes(64)
            else:
                file.truncate(at)
                continue
            file.seek(at)
            file.write(data)


def damaged(state: Path, directory: Path, begins: tuple[str, ...], rng: random.Random) -> None:
    """A copy of the state of which some files are damaged."""
    shutil.copytree(state, directory)
    files = [path for path in sorted(directory.rglob("*")) if path.is_file() and path.name.startswith(begins)]
    for path in rng.sample(files, rng.randrange(1, len(files) + 1)):
        damage(path, state / path.relative_to(directory), rng)


def look_at_all(fd: int) -> None:
    reader = Reader(fd)
    reader.snapshot()
    for id, state in enumerate(reader.states(range(20)).tolist()):
        try:
            assert (reader.job(id) is None) == (state == NONE)
            assert reader.result(id) is None or reader.result(id).state == state
        except OSError as error:
            assert "damaged" in str(error)


@given(st.integers(0, 1 << 32))
def test_lists_of_damaged_files(state: Path, tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = random.Random(seed)
    directory = tmp_path_factory.mktemp("damaged") / "state"
    damaged(state, directory, ("header", "seg", "blob"), rng)
    readers = [lambda fd, format=format: write_list(fd, format, 80, True, len) for format in FORMATS.values()]
    for read in (*readers, live_jobs, look_at_all):
        try:
            read(os.open(directory, os.O_RDONLY | os.O_DIRECTORY))  # which they close
        except (TableError, OSError) as error:
            assert str(error)
    shutil.rmtree(directory.parent)


@settings(max_examples=5)
@given(st.integers(0, 1 << 32))
def test_servers_of_damaged_files(tmp_path_factory: pytest.TempPathFactory, state: Path, seed: int) -> None:
    """It serves what is whole and refuses what is not, or does not start and says why; it does not crash."""
    rng = random.Random(seed)
    queue = Queue(tmp_path_factory.mktemp("server"))
    damaged(state, queue.state_dir, ("header", "seg", "blob", "runs", "0", "1", "a", "f"), rng)
    (queue.state_dir / "queue").write_text(f"{queue.socket}\n")
    try:
        done = queue.run("-S", 4)
        assert done.returncode == 0 or done.stderr.startswith("ts: "), done
        if done.returncode == 0:
            server = queue.server_pid()
            for words in (("-l",), ("-M", "json"), *[("-i", number) for number in range(9)], ("-C",), ("-n", "true")):
                done = queue.run(*words)
                assert done.returncode in (0, 255), done
            assert queue.server_pid() == server, queue.log()
        assert "Traceback" not in queue.log()
    finally:
        queue.end()
