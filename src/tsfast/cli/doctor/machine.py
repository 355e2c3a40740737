"""The machine: limits, clock, GPUs and their leases."""

import contextlib
import ctypes
import os
import resource
import stat
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tsfast.cli.doctor.finding import Finding, error, ok, warning

if TYPE_CHECKING:
    from tsfast.monitor.records import Record

# The server needs one for each connection, runner and open context. Below this, a few hundred waiting clients use them
# up.
FEW_DESCRIPTORS = 1024
# A job is two processes at least.
FEW_PROCESSES = 64
EARLIEST = 1700000000  # 2023: no release is older


def limits() -> Iterator[Finding]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    raise_it = "raise it in /etc/security/limits.conf, or LimitNOFILE of the service"
    if hard != resource.RLIM_INFINITY and hard < FEW_DESCRIPTORS:
        yield warning("limits", f"{hard} open files (RLIMIT_NOFILE): few clients can wait at once", raise_it)
    processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    own = sum(1 for name in os.listdir("/proc") if name.isdigit() and owner(f"/proc/{name}") == os.getuid())
    left = processes - own if processes != resource.RLIM_INFINITY and os.geteuid() != 0 else None
    if left is not None and left < FEW_PROCESSES:
        raise_it = "raise it in /etc/security/limits.conf, or LimitNPROC of the service"
        yield warning("limits", f"{own} of {processes} processes (RLIMIT_NPROC) are there already", raise_it)
    if inotify := inotify_refused():
        what = f"inotify: {inotify}: `ts -c` and `ts -t` look at their file every 50 ms"
        yield warning("limits", what, "raise fs.inotify.max_user_instances and fs.inotify.max_user_watches (sysctl)")
    yield ok("limits", f"{limit(hard)} open files, {own} of {limit(processes)} processes")


def limit(number: int) -> str:
    return "unlimited" if number == resource.RLIM_INFINITY else str(number)


def owner(path: str) -> int | None:
    try:
        return os.stat(path).st_uid
    except OSError:
        return None


def inotify_refused() -> str:
    """Why no file can be watched now; empty if one can."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC)
    if fd < 0:
        return os.strerror(ctypes.get_errno())
    watch = libc.inotify_add_watch(fd, b"/", 2)
    cause = os.strerror(ctypes.get_errno()) if watch < 0 else ""
    os.close(fd)
    return cause


def clock() -> Iterator[Finding]:
    from tsfast.daemon import boot

    if not boot.boot_id():
        what = "/proc/sys/kernel/random/boot_id cannot be read: a new start of the machine is not noticed"
        yield warning("clock", what, "mount /proc")
    now = time.time()
    if now < EARLIEST:
        yield error("clock", f"it is {time.strftime('%Y-%m-%d', time.gmtime(now))}", "set the clock (timedatectl)")
    else:
        yield ok("clock", time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(now)))


# ---- GPUs ----


def devices(patience: float | None) -> Iterator[Finding]:
    """As the server's monitor asks for them, in a process of its own."""
    from tsfast.cli import gpus
    from tsfast.daemon import boot
    from tsfast.location.paths import StateError
    from tsfast.monitor import records
    from tsfast.render.listing import TableError

    settings = gpus.Settings()
    with contextlib.suppress(OSError, StateError, TableError):  # which other checks tell
        settings.read()
    directory = settings.variables["TS_LEASE_DIR"]
    yield from lease_directory(directory)
    there = boot.gpu_count()
    began = time.monotonic()
    try:
        found, failure = gpus.ask(patience, settings.environment())
    except (gpus.GpusError, OSError) as trouble:
        yield error("gpus", str(trouble), "see dmesg and nvidia-smi; jobs with GPUs wait until the driver answers")
        return
    took = time.monotonic() - began
    if failure and (there or found or failure.startswith("TS_")):
        what = f"the kernel's driver shows {there} GPUs, but: {failure}" if there else failure
        yield error("gpus", what, "jobs with GPUs wait; see nvidia-smi")
        return
    if not found:
        yield ok("gpus", f"none: {failure or 'NVML knows none'}")
        return
    for gpu in found:
        if not gpu.flags & records.ANSWERS:
            yield warning("gpus", f"GPU {gpu.index} does not answer: {gpu.why}", "it is left out; see nvidia-smi")
    yield from without_lease(found, directory)
    visible = sum(bool(gpu.flags & records.VISIBLE) for gpu in found)
    if not visible:
        whose = "of the queue's server " if settings.of_server else ""
        advice = "name indices or UUIDs that `tsfast gpus` shows"
        yield warning("gpus", f"TS_VISIBLE_DEVICES {whose}leaves none", advice)
    users = "this queue" if settings.of_server else "queues started here"
    yield ok("gpus", f"{len(found)} known to NVML, {visible} for {users}, asked in {took:.1f} s")


def lease_directory(directory: str) -> Iterator[Finding]:
    if not directory:
        return
    try:
        about = os.stat(directory)
    except OSError as failure:
        yield error("leases", f"TS_LEASE_DIR {directory}: {failure.strerror}: no GPU is used", "make or unset it")
        return
    if about.st_mode & stat.S_IWOTH and not about.st_mode & stat.S_ISVTX:
        yield warning("leases", f"any user can replace the files in {directory}", f"chmod o-w {directory}")


def without_lease(found: "list[Record]", directory: str) -> Iterator[Finding]:
    """GPUs that cannot be leased."""
    from tsfast.cli import gpu_holders
    from tsfast.monitor import records

    known = [gpu for gpu in found if gpu.uuid]
    without = [
        gpu for gpu in known if not gpu_holders.find(gpu.uuid, gpu.bus, bool(gpu.flags & records.MIG), directory)
    ]
    if not without:
        yield ok("leases", f"a lease file for each of {len(found)} devices")
        return
    numbers = ", ".join(str(gpu.index) for gpu in without)
    if directory:
        yield warning("leases", f"no file in TS_LEASE_DIR for GPU {numbers}: not used", "make one, called as its UUID")
    else:
        what = f"no lease file for GPU {numbers}: other queues are seen through NVML only"
        yield warning("leases", what, "make /var/lib/tsfast/leases/UUID, see docs/gpus.md")
