"""One flipped byte anywhere in the files of a queue: the server says what it concerns, or refuses with one line; all
other jobs go on; nothing runs with other words, directory or environment than were given, and no result changes.

TSFAST_FLIPS says at how many places of each file, spread evenly (make soak: many)."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.fake_nvml import FakeNvml
from support.fault_queue import FaultQueue
from support.layouts import TSF_JOURNAL_RECORD, tsf_header, tsf_journal_record
from support.patience import patient
from support.places import SUPPORT
from support.state_files import ENTRY, cold_at, flip, hot_at

PLACES = int(os.environ.get("TSFAST_FLIPS", "0"))
ENDED = {"ended": 3, "gpu-ended": 4, "took-up": 5}
LATER = {"plain": 0, "gpu": 7, "after": 8, "ok": 9, "skipped": 255}
LEVELS = {**ENDED, **LATER, "skipped": None}
NEEDS = {"after": "plain", "ok": "plain", "skipped": "took-up"}
RECORD_MAGIC = TSF_JOURNAL_RECORD.to_bytes(4, sys.byteorder)
SETTINGS_BEGIN = tsf_header.slots.offset


@pytest.fixture(scope="module")
def template(tmp_path_factory, fault_points_work):
    """Ended jobs, one whose result no server has seen, and queued ones, with GPUs and without; nothing runs."""
    queue = FaultQueue(tmp_path_factory.mktemp("flips"), slots=1)
    queue.give_gpus(FakeNvml(queue.directory / "nvml", devices=1))
    queue.environment |= {"TS_DURABLE": "1", "GIVEN": "this one"}
    queue.ids = {}
    try:
        queue.start_server()
        for name, level in ENDED.items():
            gate = queue.until_opened(name) if name == "took-up" else "true"
            add(queue, name, f"{gate}; exit {level}", *(["-G", 1] if "gpu" in name else []))
        pid = queue.until_running(queue.ids["took-up"])
        for name, level in LATER.items():
            need = {"after": "-D"}.get(name, "-W")
            options = [need, queue.ids[NEEDS[name]]] if name in NEEDS else ["-G", 1] if name == "gpu" else []
            add(queue, name, f"exit {level}", "-L", f"label of {name}", *options)
        queue.kill_server()
        queue.open_gate("took-up")
        queue.until_dead(pid)
        queue.wait_until(lambda: not queue.runners(), "the runner leaves")
        (queue.state_dir / "log").unlink()
        queue.ran = queue.journal.read_text()
        queue.copy = queue.directory / "copy"
        copy(queue.state_dir, queue.copy)
        yield queue
    finally:
        queue.end()


def add(queue, name, script, *options):
    notes = f'echo "{name} $GIVEN $(pwd)" >> {queue.journal}; '
    queue.ids[name] = int(queue.ts(*options, "sh", "-c", notes + script))


def copy(source, to):
    subprocess.run(["cp", "-r", "--sparse=always", source, to], check=True)


def places(template, part):
    """(file, offset) of all bytes of a part that mean something."""
    count = len(template.ids)
    ranges = {
        "ids": [("header", range(0, SETTINGS_BEGIN))],
        "settings": [("header", range(SETTINGS_BEGIN, (template.copy / "header").stat().st_size))],
        "hot": [("seg.00000000", range(hot_at(count)))],
        "cold": [("seg.00000000", range(cold_at(0), cold_at(count)))],
        "blob": [("blob.00000000", range((template.copy / "blob.00000000").stat().st_size))],
        "ctx": [(f"ctx/{path.name}", range(path.stat().st_size)) for path in (template.copy / "ctx").iterdir()],
        "runs": [("runs", range(2 * ENTRY))],
        "queue": [("queue", range((template.copy / "queue").stat().st_size))],
    }[part]
    return [(file, offset) for file, offsets in ranges for offset in offsets]


def spread(items, wanted):
    return [items[n * len(items) // wanted] for n in range(wanted)] if wanted < len(items) else items


@pytest.mark.timeout(patient(3600 if PLACES else 120))
@pytest.mark.parametrize(
    ("part", "sample"),
    [("ids", 6), ("settings", 3), ("hot", 8), ("cold", 8), ("blob", 8), ("ctx", 3), ("runs", 10), ("queue", 2)],
)
def test_flipped_byte(template, part, sample):
    told = {}
    for file, offset in spread(places(template, part), PLACES or sample):
        kind = attempt(template, file, offset)
        told[kind] = told.get(kind, 0) + 1
    print(f"{part}: {told}")


def attempt(queue, file, offset):
    shutil.rmtree(queue.state_dir)
    copy(queue.copy, queue.state_dir)
    Path(queue.environment["TS_SOCKET"]).unlink(missing_ok=True)
    queue.journal.write_text(queue.ran)
    flip(queue.state_dir / file, offset)
    try:
        return judge(queue)
    except AssertionError:
        print(f"flipped: byte {offset} of {file}\n{queue.ts('-l', code=None)}\n{queue.report()}")
        raise
    finally:
        if queue.server():
            queue.ts("-K")
            queue.wait_until(lambda: not queue.server(), "the server's end")
        queue.wait_until(lambda: not queue.runners(), "the end of the runners")


def judge(queue):
    error = queue.ts("-S", code=None)
    if not queue.server():
        assert error.startswith("ts: ") and error.count("\n") == 1, error
        return "refused"
    named = {name for name, id in queue.ids.items() if f"job {id}:" in queue.log()}
    waits = named | {name for name, needed in NEEDS.items() if needed in named}
    queue.wait_until(lambda: settled(queue, waits), f"the end of all but {waits}")
    jobs = queue.by_id()
    rows = [line.split() for line in queue.ts("-l").splitlines()]
    unreadable = [int(row[0]) for row in rows if row[1] == "unreadable"]
    for name, id in queue.ids.items():
        assert id not in unreadable or name in named, f"{name} is not readable, and the log does not say so"
        if name in named:
            continue
        assert id in jobs, f"{name} is missing, and nobody says so"
        says_why = "not started" in queue.details(id) or "lost" in queue.details(id)
        if name not in waits and jobs[id]["E-Level"] != LEVELS[name] and not says_why:
            needed = queue.ids.get(NEEDS.get(name))
            assert jobs[id]["State"] == "skipped", f"{name}: {jobs[id]}"
            assert needed in unreadable or jobs[needed]["E-Level"] != 0
        if name in LATER:
            assert jobs[id]["Label"] == f"label of {name}"
    ran = queue.journal.read_text().splitlines()
    allowed = {f"{name} this one {queue.work}" for name in LEVELS if name != "skipped"}
    assert len(ran) == len(set(ran)) and set(ran) <= allowed, "something ran twice, or otherwise than it was given"
    changed = any(job["E-Level"] != LEVELS[name] for name, job in by_name(queue, jobs))
    damaged = changed or unreadable or named or "damaged" in queue.log()
    return "told" if damaged else "no matter"


def by_name(queue, jobs):
    return [(name, jobs[id]) for name, id in queue.ids.items() if id in jobs]


def settled(queue, waits):
    jobs = by_name(queue, queue.by_id())
    return all(job["State"] in ("finished", "skipped") for name, job in jobs if name not in waits)


def test_flipped_byte_in_the_journal(template):
    """After a loss of power the journal is written over the table: what it had is there, or the damage is told. In its
    last group damage looks like what the disk had not written yet, so that one is left out."""
    folder = template.directory / "journals"
    folder.mkdir()
    (file,) = (template.copy / "journal").iterdir()
    data = file.read_bytes()
    last_group = tsf_journal_record.from_buffer_copy(data, data.rindex(RECORD_MAGIC)).group
    offsets = [None, *spread(range(last_group), PLACES or 24)]
    for number, offset in enumerate(offsets):
        copy(template.copy, folder / str(number))
        if offset is not None:
            flip(folder / str(number) / "journal" / file.name, offset)
    program = SUPPORT / "recovered.py"
    done = subprocess.run(
        [sys.executable, program],
        input="".join(f"{folder / str(number)}\n" for number in range(len(offsets))),
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    whole, *answers = map(json.loads, done.stdout.splitlines())
    assert whole["damaged"] == 0 and len(whole["jobs"]) == len(LEVELS), whole
    silent = 0
    for offset, answer in zip(offsets[1:], answers, strict=True):
        assert "error" not in answer or "journal" in answer["error"] or "header" in answer["error"], (offset, answer)
        if not answer.get("damaged") and "error" not in answer:
            assert {**answer, "damaged": 0} == whole, f"byte {offset}"
            silent += 1
    print(f"journal: {len(answers) - silent} told, {silent} no matter, of {last_group} bytes")
