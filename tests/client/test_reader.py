"""The reader of the table beside the writer: what it says of every kind of record, of damage, holes and -K.

Each test runs where segments are mapped, and on tmpfs, where they are read."""

import errno
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest

from support.places import TABLES
from tsfast import get_include
from tsfast.client.dtypes import JOB_DTYPE
from tsfast.client.errors import QueueError
from tsfast.client.reader import (
    CANCELLED,
    DAMAGED,
    FAILED,
    FINISHED,
    KILLED,
    LOST,
    NONE,
    NOT_STARTABLE,
    QUEUED,
    RUNNING,
    SKIPPED,
    STARTING,
    STATE_NAMES,
    Reader,
    TableError,
)
from tsfast.store.table import TableProbe

SEGMENT = 65536
HOT, COLD = 64, 128
MEMORY = Path("/dev/shm")
FINAL = [4, 5, 6, 7, 8, 9, 12]


def opened(directory: Path) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY)


@pytest.fixture(params=["disk", "memory"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if request.param == "disk":
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as path:
        yield Path(path)


@pytest.fixture
def table(directory: Path) -> TableProbe:
    return TableProbe(opened(directory))


@pytest.fixture
def reader(directory: Path, table: TableProbe) -> Reader:
    return Reader(opened(directory))


def segment(directory: Path, number: int = 0) -> Path:
    return directory / f"seg.{number:08x}"


def change(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def mapped(directory: Path) -> list[str]:
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if str(directory) in line]


# ---- records -------------------------------------------------------------------------------------------------------


def test_every_state(table: TableProbe, reader: Reader) -> None:
    for state in range(14):
        table.put({"state": state})
    there = [QUEUED, STARTING, RUNNING, *FINAL]
    assert [id for id in range(14) if reader.state(id)] == there
    assert [reader.state(id) for id in there] == there
    assert [reader.result(id).state for id in there] == there
    assert reader.states(range(14)).tolist() == [state if state in there else 0 for state in range(14)]
    assert reader.snapshot()["id"].tolist() == there
    assert reader.damaged == 0


def test_names_of_states() -> None:
    names = STATE_NAMES
    assert names[QUEUED] == "queued"
    assert names[STARTING] == names[RUNNING] == "running"
    assert {names[state] for state in FINAL} == {"finished", "skipped", "cancelled"}
    assert names[DAMAGED] == "unreadable"


@pytest.mark.parametrize(
    ("fields", "exit_code", "signal"),
    [
        ({"state": QUEUED}, None, None),
        ({"state": RUNNING, "pid": 5}, None, None),
        ({"state": FINISHED, "pid": 5}, 0, None),
        ({"state": FAILED, "pid": 5, "status": 3 << 8}, 3, None),
        ({"state": KILLED, "pid": 5, "status": 15}, None, 15),
        ({"state": NOT_STARTABLE, "stage": 2, "cause": errno.EACCES}, None, None),
        ({"state": LOST, "pid": 5, "cause": 1}, None, None),
        ({"state": SKIPPED}, None, None),
        ({"state": CANCELLED, "pid": 5, "status": 9}, None, 9),
        ({"state": CANCELLED}, None, None),
    ],
)
def test_result(
    table: TableProbe, reader: Reader, fields: dict[str, int], exit_code: int | None, signal: int | None
) -> None:
    times = {"utime_ms": 11, "stime_ms": 12, "maxrss_kb": 13}
    id = table.put({**fields, "attempt": 2, "start_ns": 21, "duration_ns": 22, **times})
    result = reader.result(id)
    assert (result.id, result.exit_code, result.signal) == (id, exit_code, signal)
    assert (result.attempt, result.start_ns, result.duration_ns) == (2, 21, 22)
    assert [result.pid, result.status, result.stage, result.cause] == [
        fields.get(name, 0) for name in ("pid", "status", "stage", "cause")
    ]
    counted = exit_code is not None or signal is not None  # else these bytes mean something else
    assert (result.utime_ms, result.stime_ms, result.maxrss_kb) == ((11, 12, 13) if counted else (0, 0, 0))
    job = reader.job(id)
    row = reader.snapshot()[0]
    for name in ("id", "state", "attempt", "start_ns", "duration_ns", "pid", "status", "stage", "cause", *times):
        assert job[name] == row[name] == getattr(result, name), name
    assert (job["exit_code"], job["signal"]) == (exit_code, signal)
    assert row["exit_code"] == (-1 if exit_code is None else exit_code)
    assert row["signal"] == (signal or 0)
    assert f"job {id}" in repr(result)
    with pytest.raises(AttributeError):
        result.state = 1  # type: ignore[misc]


def test_every_field_of_a_row(table: TableProbe, reader: Reader) -> None:
    fields = {name: 100 + i for i, name in enumerate(JOB_DTYPE.names) if name not in ("id", "exit_code", "signal")}
    fields |= {"state": FAILED, "end": 2, "status": 7 << 8, "enqueue_ns": 2**63 + 1, "order": 2**63 + 2, "vram": 2**40}
    table.put({}, n=3)
    id = table.put(fields, argv=(b"echo", b"x y"))
    rows = reader.snapshot()
    assert rows.dtype == JOB_DTYPE
    assert rows.flags.owndata
    assert rows["id"].tolist() == [0, 1, 2, 3]
    assert {name: rows[id][name] for name in JOB_DTYPE.names} == {**fields, "id": id, "exit_code": 7, "signal": 0}
    job = reader.job(id)
    assert job["argv"] == [b"echo", b"x y"]
    assert {name: job[name] for name in fields if name != "flags"} == {
        name: value for name, value in fields.items() if name != "flags"
    }


def test_names_and_types_of_fields_stay() -> None:
    """Whoever wrote rows to a file reads them with a later version."""
    assert JOB_DTYPE.itemsize == 104
    assert [JOB_DTYPE.fields[name][1] for name in ("id", "utime_ms", "status", "attempt", "state")] == [
        *(0, 48, 80, 92, 100)
    ]


def test_ids_of_other_forms(table: TableProbe, reader: Reader) -> None:
    table.put({}, n=4)
    table.write(2, {"state": RUNNING})
    assert reader.states(numpy.array([[2, 9], [3, 0]], dtype=numpy.uint64)).tolist() == [[3, 0], [1, 1]]
    assert reader.states(numpy.arange(4, dtype=numpy.uint64)[::2]).tolist() == [1, 3]
    assert reader.states([]).tolist() == []
    assert reader.state(2**64 - 1) == NONE
    with pytest.raises(OverflowError):
        reader.state(2**64)
    with pytest.raises(OverflowError):
        reader.state(-1)


def test_jobs_that_are_not_there(table: TableProbe, reader: Reader) -> None:
    assert (reader.floor, reader.committed) == (0, 0)
    assert reader.snapshot().tolist() == []
    id = table.put({})
    assert reader.committed == 1
    assert reader.state(id) == QUEUED
    table.forget(id)
    for id in (0, 1, SEGMENT):
        assert reader.state(id) == NONE
        assert reader.result(id) is None
        assert reader.job(id) is None


# ---- damage --------------------------------------------------------------------------------------------------------


def test_damaged_records(directory: Path, table: TableProbe, reader: Reader) -> None:
    table.put({"pid": 7}, n=200)
    for id in range(50, 150):  # of so many not each one is waited for
        change(segment(directory), id * HOT + 16, b"damage")
    change(segment(directory), SEGMENT * HOT + 20 * COLD, b"damage")
    assert reader.state(50) == DAMAGED
    assert reader.states([49, 50, 150]).tolist() == [QUEUED, DAMAGED, QUEUED]
    assert reader.state(20) == QUEUED
    for call, id in ((reader.result, 50), (reader.job, 50), (reader.job, 20)):
        with pytest.raises(OSError, match=f"job {id} is damaged"):
            call(id)
    assert reader.snapshot()["id"].tolist() == [*range(20), *range(21, 50), *range(150, 200)]
    assert reader.damaged == 101
    for id in range(50, 150):
        table.write(id, {"pid": 7})
    assert reader.state(50) == QUEUED
    assert len(reader.snapshot()) == 199
    assert reader.damaged == 1


def test_a_record_in_a_wrong_place_is_damaged(directory: Path, table: TableProbe, reader: Reader) -> None:
    table.put({"state": FINISHED, "pid": 4}, n=2)
    change(segment(directory), HOT, segment(directory).read_bytes()[:HOT])
    assert reader.states([0, 1]).tolist() == [FINISHED, DAMAGED]


def test_blob_that_is_not_there(directory: Path, table: TableProbe, reader: Reader) -> None:
    id = table.put({})
    (directory / "blob.00000000").unlink()
    assert reader.state(id) == QUEUED
    with pytest.raises(OSError, match="damaged"):
        reader.job(id)


def test_segments_that_are_not_there_or_cut(directory: Path, table: TableProbe, reader: Reader) -> None:
    table.put({}, n=1000)
    path = segment(directory)
    whole = path.read_bytes()
    path.rename(directory / "elsewhere")
    assert reader.states([0, 999]).tolist() == [0, 0]
    assert reader.snapshot().tolist() == []
    path.write_bytes(whole[: 500 * HOT + 63])
    assert reader.states([499, 500, 999]).tolist() == [QUEUED, 0, 0]
    assert reader.snapshot().tolist() == []
    assert reader.damaged == 500  # what was submitted is gone
    for size in (0, 1, HOT - 1):
        path.unlink()  # a file that is cut while it is mapped is another matter
        path.write_bytes(whole[:size])
        other = Reader(opened(directory))
        assert other.state(0) == NONE
        assert other.snapshot().tolist() == []
    path.write_bytes(whole)
    assert other.state(0) == QUEUED
    reader.snapshot()
    assert reader.states([499, 500, 999]).tolist() == [QUEUED] * 3
    assert len(reader.snapshot()) == 1000


def test_tables_that_cannot_be_read(directory: Path, table: TableProbe) -> None:
    with pytest.raises(OSError, match="Not a directory") as failed:
        Reader(os.open(directory / "header", os.O_RDONLY))
    assert isinstance(failed.value, QueueError)
    change(directory / "header", 16, b"\1")
    fds = len(os.listdir("/proc/self/fd"))
    with pytest.raises(TableError, match="damaged") as damaged:
        Reader(opened(directory))
    assert isinstance(damaged.value, QueueError)
    assert len(os.listdir("/proc/self/fd")) == fds


def test_a_header_that_is_damaged_meanwhile(directory: Path, table: TableProbe) -> None:
    table.put({}, n=3)
    reader = Reader(opened(directory))
    change(directory / "header", 16, b"\xff" * 16)
    assert reader.states([2, 3]).tolist() == [QUEUED, NONE]
    assert len(reader.snapshot()) == 3
    with pytest.raises(TableError, match="damaged"):
        reader.job(2)


def test_a_table_of_an_earlier_version(directory: Path) -> None:
    """Those of an earlier format are for a server to take up."""
    for path in sorted(TABLES.glob("*.json")):
        place = directory / path.stem
        place.mkdir()
        subprocess.run(["tar", "-xJf", path.with_suffix(".tar.xz"), "-C", place], check=True)
        if path.stem == "0.1.0":
            with pytest.raises(TableError, match="earlier version of tsfast: the next call of ts takes it up"):
                Reader(opened(place))
            continue
        for _ in range(2):
            reader = Reader(opened(place))
            rows = reader.snapshot()
            names = dict(zip(rows["id"].tolist(), map(STATE_NAMES.get, rows["state"].tolist()), strict=True))
            known = json.loads(path.read_text())
            assert set(names) == {job["ID"] for job in known}
            for job in known:
                assert reader.job(job["ID"])["label"].decode() == (job["Label"] or "")
                if job["State"] in ("finished", "skipped", "cancelled"):
                    assert names[job["ID"]] == job["State"]


# ---- segments ------------------------------------------------------------------------------------------------------


def test_segments_come_and_go(directory: Path, table: TableProbe, reader: Reader) -> None:
    table.put({}, n=SEGMENT)
    assert reader.state(SEGMENT - 1) == QUEUED
    assert reader.state(SEGMENT) == NONE
    table.put({"state": RUNNING}, n=2)
    assert reader.states([SEGMENT - 1, SEGMENT, SEGMENT + 1, SEGMENT + 2]).tolist() == [1, 3, 3, 0]
    assert reader.snapshot()["id"].tolist() == list(range(SEGMENT + 2))
    for id in range(SEGMENT):
        table.forget(id)
    assert not segment(directory).exists()
    assert reader.states([0, SEGMENT - 1, SEGMENT]).tolist() == [0, 0, 3]
    assert reader.snapshot()["id"].tolist() == [SEGMENT, SEGMENT + 1]
    assert not [line for line in mapped(directory) if "deleted" in line]


def test_groups_that_are_forgotten(table: TableProbe, reader: Reader) -> None:
    table.put({}, n=300)
    assert reader.state(64) == QUEUED
    for id in [*range(64, 192), 0, 299]:
        table.forget(id)
    there = [*range(1, 64), *range(192, 299)]
    assert reader.snapshot()["id"].tolist() == there
    assert numpy.flatnonzero(reader.states(range(300))).tolist() == there


def test_storage_of_forgotten_jobs_is_not_taken_again(directory: Path, table: TableProbe, reader: Reader) -> None:
    """On tmpfs each page of a mapping that is read has memory, a hole too."""
    table.put({}, n=640)
    for id in range(640):
        table.forget(id)
    blocks = segment(directory).stat().st_blocks
    assert not reader.states(range(640)).any()
    assert segment(directory).stat().st_blocks == blocks


def test_dropped_queue(table: TableProbe, reader: Reader) -> None:
    table.put({}, n=SEGMENT)
    table.put({}, n=10)
    assert reader.states([0, SEGMENT]).tolist() == [1, 1]
    table.drop_all()
    assert (reader.floor, reader.committed) == (SEGMENT + 10, SEGMENT + 10)
    assert reader.states([0, SEGMENT, SEGMENT + 9]).tolist() == [0, 0, 0]
    assert reader.snapshot().tolist() == []
    assert table.put({}) == SEGMENT + 10
    assert reader.state(SEGMENT + 10) == QUEUED
    assert reader.snapshot()["id"].tolist() == [SEGMENT + 10]


def test_more_segments_than_are_mapped(directory: Path, table: TableProbe, reader: Reader) -> None:
    table.put({})
    for number in range(1, 300):
        (directory / f"seg.{number:08x}").write_bytes(bytes(HOT))
    table.commit(300 * SEGMENT)
    for _ in range(2):
        assert reader.states(numpy.arange(300) * SEGMENT).tolist() == [1] + 299 * [0]
    assert len(mapped(directory)) <= 257


# ---- beside a writer -----------------------------------------------------------------------------------------------

WRITER = """
import os, sys
from tsfast.store.table import TableProbe
table = TableProbe(os.open(sys.argv[1], os.O_RDONLY))
table.put({"state": 3}, n=64)
print(flush=True)
n = 0
while True:
    n = (n + 1) % 1000
    value = n * 0x1000001
    table.write(n % 64, {"state": 3 + n % 2, "pid": n, "start_ns": value, "duration_ns": value, "order": value})
"""


def test_each_record_is_whole(directory: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, directory], stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout is not None
            writer.stdout.readline()
            watch_records(Reader(opened(directory)))
        finally:
            writer.kill()


def watch_records(reader: Reader) -> None:
    seen = set()
    turns = 0
    while turns < 20000 or len(seen) <= 10:  # on a busy machine the writer may have to wait for its turn
        result = reader.result(turns % 64)
        assert result.start_ns == result.duration_ns == result.pid * 0x1000001
        assert result.state == 3 + result.pid % 2
        seen.add(result.pid)
        turns += 1
    for _ in range(200):
        rows = reader.snapshot()
        assert reader.damaged == 0
        assert (rows["order"] == rows["pid"].astype("u8") * 0x1000001).all()


def test_snapshots_of_other_threads(directory: Path, table: TableProbe, reader: Reader) -> None:
    table.put({}, n=SEGMENT)
    table.put({}, n=5000)

    def look() -> None:
        for _ in range(20):
            assert len(reader.snapshot()) == SEGMENT + 5000

    with ThreadPoolExecutor(2) as threads:
        looks = [threads.submit(look) for _ in range(2)]
        while not all(look.done() for look in looks):
            assert reader.state(SEGMENT + 4999) == reader.state(1) == QUEUED
        assert [look.result() for look in looks] == [None, None]


# ---- Python --------------------------------------------------------------------------------------------------------


def test_numpy_is_imported_when_it_is_used() -> None:
    script = "import sys, tsfast, tsfast.client.reader; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_headers_are_found() -> None:
    assert os.path.isfile(os.path.join(get_include(), "tsfast", "native", "table.h"))
