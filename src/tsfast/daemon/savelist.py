"""`TS_SAVELIST`: at SIGTERM, writes a shell script that queues the unfinished jobs again."""

import os
import re
import time
from collections.abc import Container
from typing import TYPE_CHECKING

from tsfast.base import trust
from tsfast.render import listing

if TYPE_CHECKING:
    from tsfast.render.listing import LiveJob


WHOLE = 1000  # gpu_share of whole GPUs, in thousandths


def append(path: bytes, directory: int) -> None:
    """Append the script of the table in the state directory. Raises OSError, TableError."""
    text = script(listing.live_jobs(os.dup(directory)))
    fd = trust.open_named(os.fsdecode(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        view = memoryview(text)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def script(jobs: "list[LiveJob]") -> bytes:
    """One line per job, in the order of the list; a job comes before its dependents."""
    by_id = {job["id"]: job for job in jobs}
    runs = array_runs(jobs)
    waited_for = {id for job in jobs for id in needs(job)}
    written: set[int] = set()
    lines = [f"# jobs of tsfast, {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode()]
    for job in jobs:
        pending = [job]
        while pending:
            run = runs.get(pending[-1]["id"], [pending[-1]])
            job = run[0]
            needed = [id for id in needs(job) if id in by_id and id not in written]
            pending += [by_id[id] for id in needed]
            if needed:
                continue
            pending.pop()
            if job["id"] not in written:
                written.update(member["id"] for member in run)
                lines.append(line(run, by_id.keys()))
                others = [member["id"] for member in run[1:] if member["id"] in waited_for]
                lines += [b"job_%d=$((job_%d + %d))\n" % (id, job["id"], id - job["id"]) for id in others]
    return b"".join(lines)


def array_runs(jobs: "list[LiveJob]") -> "dict[int, list[LiveJob]]":
    """Elements of arrays, by id: those of one array that one call queues, with consecutive ids. An element with its own
    file is queued alone: its path is not a pattern any more."""
    runs: dict[int, list[LiveJob]] = {}
    for job in sorted((job for job in jobs if job["array"]), key=lambda job: job["id"]):
        before = runs.get(job["id"] - 1)
        if before and alike(before[0], job):
            before.append(job)
            runs[job["id"]] = before
        else:
            runs[job["id"]] = [job]
    return runs


def alike(one: "LiveJob", other: "LiveJob") -> bool:
    return (
        one["array"] is not None
        and other["array"] is not None
        and one["array"]["first"] == other["array"]["first"]
        and one["running"] == other["running"]
        and not one["log"]
    )


def needs(job: "LiveJob") -> list[int]:
    """The ids it waits for; a running job waits for none."""
    return [] if job["running"] else job["after"] + job["after_ok"]


def line(run: "list[LiveJob]", known: Container[int]) -> bytes:
    """The call that queues the job, or these elements of an array, the first new id in a variable."""
    job = run[0]
    words = [b"ts"]
    argv = job["argv"]
    if array := job["array"]:
        limit = b"%%%d" % array["limit"] if array["limit"] else b""
        words += [b"--array", b"%d-%d%s" % (array["index"], array["index"] + len(run) - 1, limit)]
        argv = array["argv"]
    for option, ids in ((b"-D", job["after"]), (b"-W", job["after_ok"])):
        if kept := [id for id in ids if not job["running"] and id in known]:
            words += [option, b'"' + b",".join(b"$job_%d" % id for id in kept) + b'"']
    if job["no_output"]:
        words.append(b"-n")
    if job["split_stderr"]:
        words.append(b"-E")
    if job["mail"]:
        words.append(b"-m")
    if job["gzip"]:
        words.append(b"-z")
    name = os.path.basename(job["prefix"])
    if job["log"]:
        words += [b"--log", quoted(job["prefix"])]
        if job["truncate"]:
            words.append(b"--truncate")
        elif job["append"] or job["running"]:  # its file is there already
            words.append(b"--append")
    elif name not in (b"", b"ts-out"):
        words += [b"-O", quoted(name)]
    if job["label"]:
        words += [b"-L", quoted(job["label"])]
    if job["slots"] != 1:
        words += [b"-N", b"%d" % job["slots"]]
    words += gpu_words(job)
    words += [b"--", *map(quoted, argv)]
    call = b"cd %s && %s" % (quoted(job["cwd"]), b" ".join(words))
    if job["no_output"]:
        call += b" && ts -q" if len(run) == 1 else b" && echo $(($(ts -q) - %d))" % (len(run) - 1)
    return b"job_%d=$(%s)\n" % (job["id"], call)


def gpu_words(job: "LiveJob") -> list[bytes]:
    """-g, or -G and --vram, as given."""
    if job["gpu_exact"]:
        return [b"-g", job["gpu_exact"]]
    words = []
    if 0 < job["gpu_share"] < WHOLE:
        words += [b"-G", b"0.%03d" % job["gpu_share"]]
    elif job["gpus"]:
        words += [b"-G", b"%d" % job["gpus"]]
    if job["vram"]:
        words += [b"--vram", b"%dK" % (job["vram"] >> 10)]
    return words


def quoted(word: bytes) -> bytes:
    """For any shell: text.pyx writes $'...', which only some shells understand."""
    if re.fullmatch(rb"[\w@%+=:,./-]+", word, re.ASCII):
        return word
    return b"'" + word.replace(b"'", b"'\\''") + b"'"
