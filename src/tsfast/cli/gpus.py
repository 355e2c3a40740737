"""`tsfast gpus`: the machine's GPUs, and the holder of each.

A process of its own asks NVML, since a call of it can hang forever. Leases are only read, never taken.
"""

import json
import os
import pwd
import select
import subprocess
import sys

from tsfast.base.text import as_line, shown
from tsfast.cli import gpu_holders, parsing
from tsfast.client.errors import QueueError
from tsfast.grammar.options import FORMATS, GrammarError, parse_words
from tsfast.location import paths, programs, state
from tsfast.monitor import records
from tsfast.monitor.records import Record
from tsfast.render import listing
from tsfast.resources.gpus import why_not

MIB = 1 << 20
# Like the server's TS_GPU_TIMEOUT: for each device, and while NVML starts, which wakes all GPUs.
PATIENCE_S = 10.0
INIT_PATIENCE_S = 60.0
SERVER_PATIENCE_S = 3.0
# The variables of the server's environment about GPUs; --setenv changes them.
VARIABLES = ("TS_VISIBLE_DEVICES", "TS_GPU_MEMORY_ONLY", "TS_LEASE_DIR")


class GpusError(Exception):
    """The GPUs cannot be listed. The text is one line, without a leading `tsfast: `."""


class Settings:
    """What decides which GPUs the queue uses: from its server, or else as this call would start one."""

    def __init__(self) -> None:
        self.percent = 90
        self.of_server = False
        self.trouble = ""  # why the server could not be asked
        self.variables = {name: os.environ.get(name, "") for name in VARIABLES}

    def read(self) -> None:
        from tsfast.cli.doctor import server

        place = state.find(paths.canonical(paths.socket_path()), os.environ)
        if place is None:
            return
        directory = state.open_place(place)  # closed by gpu_free_percent
        self.percent = listing.gpu_free_percent(directory) or self.percent
        found = {}
        try:
            for name in VARIABLES:
                answer = server.ask([b"--getenv", name.encode()], SERVER_PATIENCE_S)
                if answer is None:
                    return
                found[name] = answer[1]
        except (OSError, QueueError) as error:
            self.trouble = f"the queue's server cannot be asked ({error}): the variables of this call count"
            return
        self.variables = found
        self.of_server = True

    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.variables}

    def lines(self) -> str:
        """Which variables exclude or include GPUs, and their origin."""
        whose = "of the queue's server" if self.of_server else "of this call"
        told = {name: self.variables[name] for name in ("TS_VISIBLE_DEVICES", "TS_GPU_MEMORY_ONLY")}
        return "".join(f"{name}={shown(value)} ({whose})\n" for name, value in told.items() if value)


def run(words: list[str]) -> int:
    """The exit code."""
    options = parsing.parse("gpus", words)
    if isinstance(options, int):
        return options
    settings = Settings()
    try:
        need = needed(options.gpus, options.vram)
        settings.read()
        found, failure = ask(options.timeout, settings.environment())
        jobs = holders() if found else {}
    except (GpusError, GrammarError, paths.StateError, listing.TableError, OSError) as error:
        complain(str(error))
        return 255
    if settings.trouble:
        complain(settings.trouble)
    rows = describe(found, jobs, settings, need)
    text = json.dumps([row.told for row in rows], indent=2) + "\n" if options.json else table(rows, settings)
    if not found:
        os.write(2 if options.json else 1, as_line(f"no GPU: {failure or 'NVML knows none'}"))
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
        return 141  # as a shell shows a death by SIGPIPE
    return 0


def complain(text: str) -> None:
    os.write(2, as_line(f"tsfast: {text}"))


def needed(gpus: str | None, vram: str | None) -> tuple[int, int, int]:
    """What a job of these options asks for: count, share, vram. Without options, one whole GPU. Raises GrammarError."""
    words = [
        *(("-G", gpus) if gpus is not None or vram is None else ()),
        *(("--vram", vram) if vram is not None else ()),
    ]
    parsed = parse_words([os.fsencode("1" if word is None else word) for word in (*words, "true")])
    return parsed["gpus"], parsed["gpu_share"], parsed["vram"]


def ask(patience: float | None, environment: dict[str, str] | None = None) -> tuple[list[Record], str]:
    """One round of the monitor: its devices, and why NVML as a whole did not answer. patience: for each answer. Raises
    GpusError."""
    child = subprocess.Popen(
        programs.isolated("monitor.__main__", "--once", site=True),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    assert child.stdout is not None
    poll = select.poll()
    poll.register(child.stdout, select.POLLIN)
    data, answer = b"", [Record(records.ASKING)]
    while True:
        whole = any(record.kind == records.ROUND for record in answer)
        if patience is not None:
            limit = patience
        else:
            limit = INIT_PATIENCE_S if answer[-1].index == records.NONE else PATIENCE_S
        if not poll.poll(limit * 1000):
            child.kill()  # not waited for: a call that hangs in the kernel cannot be ended
            child.stdout.close()
            if whole:
                break  # everything is reported: it hangs at its end
            raise GpusError(f"{asked_last(answer)} did not answer within {limit:g} s{doing(answer)}") from None
        chunk = os.read(child.stdout.fileno(), 1 << 16)
        if not chunk:
            child.stdout.close()
            child.wait()
            break
        data += chunk
        answer = unpacked(data) or answer
    if not whole and child.returncode and child.returncode < 0:
        signal = f"died of signal {-child.returncode}"
        raise GpusError(f"the process that asked {asked_last(answer)} {signal}{doing(answer)}")
    failure = next((record.why for record in answer if record.kind == records.FAILED), "")
    if not whole and not failure:
        raise GpusError(f"the process that asks NVML ended with {child.returncode}{doing(answer)}")
    return [record for record in answer if record.kind == records.DEVICE], failure


def doing(answer: list[Record]) -> str:
    """What NVML was asked last, if not about a device."""
    last = answer[-1]
    return f" {last.why}" if last.kind == records.ASKING and last.index == records.NONE and last.why else ""


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
    listing.write_list(directory, FORMATS["json"], 0, False, parts.append)
    held: dict[str, list[int]] = {}
    for job in json.loads(b"".join(parts).decode("utf-8", "replace")):
        if job["State"] == "running":
            for uuid in job.get("GPU_UUIDs") or ():
                held.setdefault(uuid, []).append(job["ID"])
    return held


class Row:
    """A device: its fields in JSON, and one that only the table shows."""

    def __init__(self, told: dict[str, object], note: str) -> None:
        self.told = told
        self.note = note


def describe(
    found: list[Record], jobs: dict[str, list[int]], settings: Settings, need: tuple[int, int, int]
) -> list[Row]:
    locks = gpu_holders.held()
    lease_dir = settings.variables["TS_LEASE_DIR"]
    files = [gpu_holders.find(gpu.uuid, gpu.bus, bool(gpu.flags & records.MIG), lease_dir) for gpu in found]
    pids = [gpu_holders.holder(file, locks) if file else None for file in files]
    taken = [pid is not None or bool(lease_dir and not file) for pid, file in zip(pids, files, strict=True)]
    verdicts = why_not([records.pack(gpu) for gpu in found], settings.percent, taken, *need)
    rows = []
    for gpu, file, pid, (verdict, said) in zip(found, files, pids, verdicts, strict=True):
        held = jobs.get(gpu.uuid, [])
        why = in_words(verdict, said, gpu, held, pid)
        told = {
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
        rows.append(Row(told, ", beside a process of yours that is of no job" if gpu.flags & records.BUSY else ""))
    return rows


def in_words(verdict: str, said: str, gpu: Record, held: list[int], lease_pid: int | None) -> str:
    """Why the device is not free, in the server's words, with names added; empty if it is free."""
    if held:
        return f"job{'s' if len(held) > 1 else ''} {', '.join(map(str, held))}"
    if verdict == "foreign" and (name := user(gpu.foreign_uid)):
        return f"process {gpu.foreign_pid} of {name}"
    if verdict == "leased":
        if lease_pid is None:
            return "no file in TS_LEASE_DIR"
        return f"leased by another queue, process {lease_pid}{of_user(lease_pid)}"
    return said


def user(uid: int) -> str | None:
    """The name of a user, or the number of one without a name; None if unknown."""
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


def table(rows: list[Row], settings: Settings) -> str:
    if not rows:
        return ""
    lines: list[tuple[str, ...]] = [("GPU", "UUID", "Name", "Used MiB", "Total MiB", "Held by")]
    for row in rows:
        gpu = row.told
        used, total = (int(str(gpu[name])) // MIB for name in ("memory_used", "memory_total"))
        held = str(gpu["why"] or f"free{row.note}")
        texts = (gpu["index"], gpu["uuid"], gpu["name"], used, total, held)
        lines.append(tuple(shown(str(text)) for text in texts))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    text = ""
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line[:3], widths[:3], strict=True)]
        cells += [cell.rjust(width) for cell, width in zip(line[3:5], widths[3:], strict=True)]
        text += "  ".join([*cells, line[5]]) + "\n"
    without = [str(row.told["index"]) for row in rows if row.told["lease_file"] is None and row.told["uuid"]]
    if without:
        text += f"No lease file for GPU {', '.join(without)}: other queues are seen through NVML only.\n"
    return text + settings.lines()
