"""`tsfast gpus`: the machine's GPUs, and who holds each.

NVML is asked by a process of its own, since a call of it can hang for good. Leases are looked up, never taken.
"""

import json
import os
import pwd
import subprocess
import sys

from tsfast import _grammar, _listing, _quote, paths, state
from tsfast.cli import parsing
from tsfast.gpus import leases, records
from tsfast.gpus.records import Record

MIB = 1 << 20


class GpusError(Exception):
    """The GPUs cannot be told. The text is one line, without a leading `tsfast: `."""


def run(words: list[str]) -> int:
    """The exit code."""
    options = parsing.parse("gpus", words)
    if isinstance(options, int):
        return options
    try:
        found, failure = ask(options.timeout)
        jobs = holders() if found else {}
    except (GpusError, paths.StateError, _listing.TableError, OSError) as error:
        os.write(2, _quote.line(f"tsfast: {error}"))
        return 255
    rows = describe(found, jobs)
    text = json.dumps(rows, indent=2) + "\n" if options.json else table(rows)
    if not found:
        os.write(2 if options.json else 1, _quote.line(f"no GPU: {failure or 'NVML knows none'}"))
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
        return 141  # as a shell shows a death by SIGPIPE
    return 0


def ask(patience: float) -> tuple[list[Record], str]:
    """One round of the poller: its devices, and why NVML as a whole did not answer. Raises GpusError."""
    command = [sys.executable, "-I", "-m", "tsfast.gpus", "--once"]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        data, _ = child.communicate(timeout=patience)
    except subprocess.TimeoutExpired as late:
        child.kill()  # not waited for: a call that hangs in the kernel cannot be ended
        raise GpusError(f"{asked_last(unpacked(late.output or b''))} did not answer within {patience:g} s") from None
    answer = unpacked(data)
    if child.returncode < 0:
        raise GpusError(f"the process that asked {asked_last(answer)} died of signal {-child.returncode}")
    failure = next((record.why for record in answer if record.kind == records.FAILED), "")
    if child.returncode and not failure:
        raise GpusError("the process that asks NVML has failed")
    return [record for record in answer if record.kind == records.DEVICE], failure


def unpacked(data: bytes) -> list[Record]:
    size = records.SIZE
    return [records.unpack(data[at : at + size]) for at in range(0, len(data) - size + 1, size)]


def asked_last(answer: list[Record]) -> str:
    index = answer[-1].index if answer and answer[-1].kind == records.ASKING else records.NONE
    return "NVML" if index == records.NONE else f"GPU {index}"


def holders() -> dict[str, list[int]]:
    """The jobs of this queue that hold GPUs: UUID -> ids. Read from the table, so no server is started for it."""
    place = state.find(paths.canonical(paths.socket_path()), os.environ)
    if place is None:
        return {}
    directory = state.open_place(place)  # closed by write_list
    parts: list[bytes] = []
    _listing.write_list(directory, _grammar.FORMATS["json"], 0, False, parts.append)
    held: dict[str, list[int]] = {}
    for job in json.loads(b"".join(parts).decode("utf-8", "replace")):
        if job["State"] == "running":
            for uuid in job.get("GPU_UUIDs") or ():
                held.setdefault(uuid, []).append(job["ID"])
    return held


def describe(found: list[Record], jobs: dict[str, list[int]]) -> list[dict[str, object]]:
    """What is told of each device, as in JSON."""
    locks = leases.held()
    lease_dir = os.environ.get("TS_LEASE_DIR")
    rows = []
    for gpu in found:
        file = leases.find(gpu.uuid, gpu.bus, bool(gpu.flags & records.MIG), lease_dir)
        pid = leases.holder(file, locks) if file else None
        held = jobs.get(gpu.uuid, [])
        why = why_not(gpu, held, file, pid, lease_dir)
        rows.append(
            {
                "index": gpu.index,
                "uuid": gpu.uuid,
                "name": gpu.name,
                "bus": gpu.bus,
                "numa": gpu.numa if gpu.numa >= 0 else None,
                "nvlink_group": gpu.link or None,
                "mig": bool(gpu.flags & records.MIG),
                "memory_total": gpu.memory_total,
                "memory_used": gpu.memory_total - gpu.memory_free,
                "free": not why,
                "why": why or None,
                "jobs": held,
                "lease_file": file,
                "lease_pid": pid,
                "foreign_pid": gpu.foreign_pid if gpu.flags & records.FOREIGN else None,
                "foreign_user": user(gpu.foreign_uid) if gpu.flags & records.FOREIGN else None,
            }
        )
    return rows


def why_not(gpu: Record, held: list[int], file: str | None, lease_pid: int | None, lease_dir: str | None) -> str:
    """Why the device is not free, in a few words; empty if it is."""
    if held:
        return f"job{'s' if len(held) > 1 else ''} {', '.join(map(str, held))}"
    if not gpu.flags & records.ANSWERS:
        return f"does not answer: {gpu.why}"
    if gpu.flags & records.DIVIDED:
        return "divided into MIG instances"
    if gpu.flags & records.FOREIGN:
        name = user(gpu.foreign_uid)
        return (
            f"process {gpu.foreign_pid} of {name}" if name else f"process {gpu.foreign_pid}, not to be seen from here"
        )
    if lease_pid is not None:
        return f"leased by another queue, process {lease_pid}{of_user(lease_pid)}"
    if gpu.flags & records.PROHIBITED:
        return "compute mode prohibited"
    if not gpu.flags & records.VISIBLE:
        return "not in TS_VISIBLE_DEVICES"
    if lease_dir and not file:
        return "no file in TS_LEASE_DIR"
    if gpu.flags & records.BUSY:
        return "a process of yours, of no job"
    return ""


def user(uid: int) -> str | None:
    """The name of a user, or the number of one without a name; None if it is not known who."""
    if uid == records.NONE:
        return None
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def of_user(pid: int) -> str:
    try:
        return f" of {user(os.stat(f'/proc/{pid}').st_uid)}"
    except OSError:
        return ""


def table(rows: list[dict[str, object]]) -> str:
    lines = [("GPU", "UUID", "Name", "Used MiB", "Total MiB", "Held by")]
    for row in rows:
        used, total = (int(str(row[name])) // MIB for name in ("memory_used", "memory_total"))
        uuid, name, why = (_quote.shown(str(text)) for text in (row["uuid"], row["name"], row["why"] or "free"))
        lines.append((str(row["index"]), uuid, name, str(used), str(total), why))
    if not rows:
        return ""
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    text = ""
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line[:3], widths[:3], strict=True)]
        cells += [cell.rjust(width) for cell, width in zip(line[3:5], widths[3:], strict=True)]
        text += "  ".join([*cells, line[5]]) + "\n"
    without = [str(row["index"]) for row in rows if row["lease_file"] is None and row["uuid"]]
    if without:
        text += f"No lease file for GPU {', '.join(without)}: other queues are seen through NVML only.\n"
    return text
