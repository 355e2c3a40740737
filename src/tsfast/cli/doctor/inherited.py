"""What the server, and so every job, inherits from the call that started it, where this call differs."""

import os
import resource
from collections.abc import Iterator

from tsfast.cli import processes
from tsfast.cli.doctor import server
from tsfast.cli.doctor.finding import Finding, ok, warning

NAME = "inherited"
ADVICE = "`tsfast stop`, and the next call starts a server from there (the queue is kept)"
NICE = 16  # in proc_pid_stat(5), from the state on
CAP_SYS_RESOURCE = 1 << 24
NAMESPACES = {
    "mnt": "mount",
    "user": "user",
    "pid": "pid",
    "net": "network",
    "ipc": "ipc",
    "uts": "uts",
    "time": "time",
}
POLICIES = {0: "other", 1: "fifo", 2: "round robin", 3: "batch", 5: "idle", 6: "deadline"}
POLICY = 0xFF  # without the flag for resetting it at a fork
CGROUPS = "/sys/fs/cgroup"
NO_LIMIT = 1 << 60  # as the memory controller of version 1 reports it


def check() -> Iterator[Finding]:
    where = server.place()
    pid = processes.server_of(where) if where else None
    if pid is None:
        return
    status, own = statuses(pid), statuses("self")
    if not status or not own:
        return  # hidden, or it has just ended
    differences = [
        *lower_limits(pid, status),
        *other_priority(pid),
        *other_namespaces(pid),
        *fewer_rights(status, own),
        *less_memory(pid),
    ]
    if differences:
        yield warning(NAME, f"jobs get from the server: {', '.join(differences)}", ADVICE)
    group, ours = cgroup(pid), cgroup("self")
    place = f"; jobs are in its cgroup {group}, this call is in {ours}" if group != ours else ""
    yield ok(NAME, f"{'the rest is' if differences else 'all is'} as here{place}")


def statuses(pid: int | str) -> dict[str, str]:
    lines = (line.partition(":") for line in processes.content(pid, "status").splitlines())
    return {name: value.strip() for name, _, value in lines}


def limit_names() -> list[str]:
    return [name for name in dir(resource) if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"]


def lower_limits(pid: int, status: dict[str, str]) -> Iterator[str]:
    """Yields nothing if the server may give its jobs any limit."""
    if int(status.get("CapEff", "0"), 16) & CAP_SYS_RESOURCE:
        return
    for name in limit_names():
        number = getattr(resource, name)
        try:
            its, ours = resource.prlimit(pid, number)[1], resource.getrlimit(number)[1]
        except (OSError, ValueError):
            continue  # not to be seen from here, or not known to this kernel
        if its != resource.RLIM_INFINITY and (ours == resource.RLIM_INFINITY or its < ours):
            yield f"{name} {its} (here {'unlimited' if ours == resource.RLIM_INFINITY else ours})"


def other_priority(pid: int) -> Iterator[str]:
    its, ours = processes.fields(pid), processes.fields("self")
    if its and ours and int(its[NICE]) > int(ours[NICE]):
        yield f"nice value {its[NICE]} (here {ours[NICE]})"
    try:
        policy, own = os.sched_getscheduler(pid) & POLICY, os.sched_getscheduler(0) & POLICY
    except OSError:
        policy = own = 0
    if policy != own:
        yield f"scheduling class {POLICIES.get(policy, policy)} (here {POLICIES.get(own, own)})"
    score, own_score = (processes.content(one, "oom_score_adj").strip() for one in (pid, "self"))
    if score and own_score and int(score) > int(own_score):
        yield f"oom_score_adj {score} (here {own_score})"


def other_namespaces(pid: int) -> Iterator[str]:
    for name, word in NAMESPACES.items():
        try:
            same = os.readlink(f"/proc/{pid}/ns/{name}") == os.readlink(f"/proc/self/ns/{name}")
        except OSError:
            continue  # not to be seen from here, or not known to this kernel
        if not same:
            yield f"another {word} namespace"


def fewer_rights(its: dict[str, str], ours: dict[str, str]) -> Iterator[str]:
    for name, what in (("NoNewPrivs", "no_new_privs"), ("Seccomp", "a filter of system calls (seccomp)")):
        if its.get(name, "0") != "0" and ours.get(name, "0") == "0":
            yield what
    if missing := int(ours.get("CapBnd", "0"), 16) & ~int(its.get("CapBnd", "0"), 16):
        yield f"a capability bounding set without {missing:#x}"


def cgroup(pid: int | str) -> str:
    """In the unified hierarchy, or in that with the memory controller."""
    found = ""
    for line in processes.content(pid, "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return f"memory{path}"
        if not controllers:
            found = path
    return found


def memory_limit(group: str) -> int | None:
    """The least on the way up; None: there is none, or it is hidden."""
    name = "memory.limit_in_bytes" if group.startswith("memory/") else "memory.max"
    path, least = group.rstrip("/"), None
    while path:
        try:
            with open(f"{CGROUPS}/{path.lstrip('/')}/{name}") as file:
                text = file.read().strip()
            if text.isdigit() and int(text) < NO_LIMIT and (least is None or int(text) < least):
                least = int(text)
        except OSError:
            pass
        path = path.rpartition("/")[0]
    return least


def less_memory(pid: int) -> Iterator[str]:
    its, ours = memory_limit(cgroup(pid)), memory_limit(cgroup("self"))
    if its is not None and (ours is None or its < ours):
        yield f"{its >> 20} MiB of memory for its cgroup (here {'no limit' if ours is None else f'{ours >> 20} MiB'})"
