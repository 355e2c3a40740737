"""From the first call to a serving process. The launcher runs this, with the words of the call.

    python -I -S -c '... main()' SOCKET        or        tsfast --boot SOCKET

TSFAST_BOOT_WORDS is the descriptor of a file with the words of the call, which must not be arguments: any user can read
those as long as the server lives. TSFAST_BOOT_UNIT is set by `tsfast serve`: what the service's unit says of priority
and memory is kept, what a call had is not. TSFAST_BOOT_FD is the descriptor on which the launcher hears: `A`, the
server is alive and takes the queue up; `L`, a server listens now; or `X` and a byte, nothing more is to be done, exit
with that code. Behind the `L` stands what systemd wants to hear if it listens instead (sd_notify(3); it ignores the
first line). Words that need no server are answered here. The process becomes the server itself: one start of Python, no
fork. Imports only what a start needs: the first call waits for it.
"""

import os
import sys

import tsfast
from tsfast import __version__, _core
from tsfast.base import trust
from tsfast.base.text import as_line
from tsfast.grammar import options
from tsfast.location import checks, paths, pointers, state
from tsfast.server import environ, inherited

SLOTS_DEFAULT = 1
MAX_FINISHED_DEFAULT = 1000
CANCEL_GRACE_S = 10
GPU_TIMEOUT_S = 10
# Numbers that a starting server reads from its environment: the default, and the least allowed.
NUMBERS = {
    "TS_SLOTS": (SLOTS_DEFAULT, 1),
    "TS_MAXFINISHED": (MAX_FINISHED_DEFAULT, 0),
    "TS_MAXCONN": (0, 0),
    "TS_CANCEL_GRACE": (CANCEL_GRACE_S, 0),
    "TS_GPU_TIMEOUT": (GPU_TIMEOUT_S, 1),
}
LOCK_PATIENCE_S = 10.0
LOG_LIMIT = 1 << 20
TAKES_UP = b" takes the queue up\n"
ALIVE = b"A"
LISTENS = b"L\nREADY=1\nSTATUS=Serving the queue"

# Device nodes of discrete GPUs, WSL, and Tegra's newer and older kernels; where the driver's library lies.
GPU_NODES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/nvmap", "/dev/nvhost-ctrl")
LIBRARY_FOLDERS = (
    f"/usr/lib/{os.uname().machine}-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/nvidia/lib64",
    "/usr/lib/wsl/lib",
)

Environ = "os._Environ[str]"


class BootError(Exception):
    """No server could be started. The text is one line for the user, without a leading `ts: `."""


def main(arguments: list[str] | None = None) -> None:
    """Answer or serve; never returns."""
    words = sys.argv[1:] if arguments is None else arguments
    report = int(os.environ.pop("TSFAST_BOOT_FD"))
    by_unit = os.environ.pop("TSFAST_BOOT_UNIT", "") != ""
    os.set_inheritable(report, False)
    socket = paths.canonical(words[0])
    code = 0
    try:
        given = caller_words()
        # A launcher of an earlier release, still running: it passes its words as arguments, and does not know `A`.
        parsed = options.parse_words([os.fsencode(word) for word in words[1:]] if given is None else given)
        action = parsed["action"]
        if action == options.ACTIONS["help"]:
            os.write(1, options.help_bytes())
        elif action == options.ACTIONS["version"]:
            os.write(1, version_line())
        elif action == options.ACTIONS["kill_server"]:
            drop(socket, report, b"" if given is None else ALIVE)
        else:
            serve(socket, report, b"" if given is None or by_unit else ALIVE, by_unit)
    except (BootError, paths.StateError, options.GrammarError) as error:
        os.write(2, as_line(f"ts: {error}"))
        code = 255
    except OSError as error:
        os.write(2, as_line(f"ts: no server could be started: {error}"))
        code = 255
    except MemoryError:
        os.write(2, b"ts: no server could be started: out of memory\n")
        code = 255
    tell(report, b"X" + bytes([code]))
    os._exit(code)


def caller_words() -> list[bytes] | None:
    """The words of the call that starts the server, empty if the launcher could not pass them. None: they are not
    passed in this way. Raises OSError."""
    given = os.environ.pop("TSFAST_BOOT_WORDS", None)
    if not given:
        return None if given is None else []
    fd = int(given)
    text = b""
    while part := os.pread(fd, 1 << 20, len(text)):
        text += part
    os.close(fd)
    return text.split(b"\0")[:-1]


def print_help() -> None:
    """`ts -h`: needs no server. Never returns."""
    try:
        os.write(1, options.help_bytes())
    except OSError as error:
        os.write(2, f"ts: standard output: {error.strerror}\n".encode())
        os._exit(255)
    os._exit(0)


def tell(report: int, what: bytes) -> None:
    """The launcher that waits for the server; the server also serves if it is gone."""
    try:
        if what:  # systemd would receive nothing, too
            os.write(report, what)
    except OSError:
        pass


def version_line() -> bytes:
    """What -V prints."""
    return f"tsfast {__version__}\n".encode()


def drop(socket: str, report: int, alive: bytes) -> None:
    """-K without a server: also drops what a crashed one has left. If one has just started, the launcher asks that
    one."""
    try:
        place = state.find(socket, os.environ)
    except state.Gone as gone:
        if gone.other_machine:
            raise
        pointers.forget(socket)
        return
    if place is None:
        check_name(socket, make=False)
        return
    directory = state.open_place(place)
    if lock(directory, socket, place, report, alive) is None:
        tell(report, LISTENS)
        os._exit(0)
    try:
        _core.drop_queue(directory, boot_id())
    except (_core.TableError, ValueError) as error:
        raise BootError(str(error)) from None


def serve(socket: str, report: int, alive: bytes, by_unit: bool) -> None:
    """Become the server of a queue, unless there is one. Returns only if there is one, after reporting it. alive:
    called once the start is certain to proceed, however long it takes. by_unit: no call has started this process."""
    check_engine()
    take_own_zone()
    close_all_but(report)
    check_name(socket)
    place = state.find(socket, os.environ)
    warning = None
    if place is None:
        place, warning = state.choose(socket, os.environ)
    if warning:
        os.write(2, as_line(f"ts: warning: {warning}"))
    directory = state.open_place(place)
    if (held := lock(directory, socket, place, report, alive)) is None:
        tell(report, LISTENS)
        os._exit(0)
    tell(report, alive)
    os.umask(0o077)
    state.mark(directory, socket, place)
    if not pointers.pin(socket, place):
        tell(report, LISTENS)  # soon: another call, of another environment, was first
        os._exit(0)
    second_missing = pointers.note_second(socket, place)
    log = open_log(directory)
    if os.environ.get("TMPDIR"):
        os.environ["TMPDIR"] = os.path.abspath(os.environ["TMPDIR"])  # the server's directory will be another one
    try:
        server = _core.Server(
            state_dir=directory,
            socket_path=socket,
            runner=os.path.join(os.path.abspath(tsfast.__path__[0]), "native", "ts-run"),
            boot_id=boot_id(),
            version=version_line(),
            max_unfinished=number("TS_MAXCONN"),
            gpus=gpu_count(),
            hide_gpus=may_have_gpus(),
            by_unit=by_unit,
            gpu_timeout=min(number("TS_GPU_TIMEOUT"), 3600),
            cancel_grace=min(number("TS_CANCEL_GRACE"), 65535),
            durable=switch("TS_DURABLE"),
            fault=os.fsencode(os.environ.get("TSFAST_FAULT", "")),
        )
        damaged = server.recover(number("TS_SLOTS"), number("TS_MAXFINISHED"))
        server.listen()
        write_lock(held, b"\n")
        detach(log, by_unit)
    except (_core.TableError, trust.Untrusted, ValueError) as error:
        raise BootError(f"{error} ({place})") from None
    if server.damaged is not None:
        note("the machine had stopped: the journal was replayed into the job table")
        if server.damaged:
            note(f"the journal is damaged in {server.damaged} places: what it held there is missing")
    if server.migrated:
        note("the job table was that of an earlier release: it has the format of this one from now on")
    if second_missing:
        note(f"no second pointer to the state directory, which is found by that beside the socket: {second_missing}")
    note(f"serving {socket}, pid {os.getpid()}, tsfast {__version__}")
    if server.truncated:
        note(f"{server.truncated} segment files of the job table are truncated; jobs in the missing part are gone")
    if server.settings_lost:
        note("the queue's settings are damaged: the defaults apply")
    for job in server.lost:
        note(f"job {job}: lost: nobody knows how it ended")
    for job in damaged:
        note(f"job {job}: its record is damaged; the server will not start it")
    tell(report, LISTENS)
    os.close(report)
    try:
        dropped = server.run()
    except OSError as error:
        note(f"ended: nothing can be promised any more: {error}")
        os._exit(1)
    if server.gave_way:
        note("ended for a later release of tsfast; the queue is kept")
        os._exit(0)
    if dropped and server.gone:
        pointers.forget(socket)
    if not dropped and (path := environ.variable(b"TS_SAVELIST")):
        save_list(path, directory)
    note("ended by -K" if dropped else "ended by SIGTERM; the queue is kept")
    os._exit(0)


def save_list(path: bytes, directory: int) -> None:
    """TS_SAVELIST, at SIGTERM."""
    from tsfast.daemon import savelist

    try:
        savelist.append(path, directory)
    except Exception as error:  # the server ends all the same
        note(f"the list could not be saved in {os.fsdecode(path)}: {error}")


def gpu_count() -> int:
    """How many GPUs the kernel's driver shows, without NVML; 0: none, or unknown."""
    try:
        return len(os.listdir("/proc/driver/nvidia/gpus"))
    except OSError:
        return 0


def may_have_gpus() -> bool:
    """Whether anything here suggests NVIDIA GPUs. Asks no driver, since that can hang."""
    if gpu_count() or any(map(os.path.exists, GPU_NODES)):
        return True
    folders = [*os.environ.get("LD_LIBRARY_PATH", "").split(":"), *LIBRARY_FOLDERS]
    return any(folder and has_file(os.path.join(folder, "libnvidia-ml.so.1")) for folder in folders)


def has_file(path: str) -> bool:
    """An empty file does not count: containers can have it as a mount point for the real one."""
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return False


def number(variable: str) -> int:
    """One of NUMBERS. Raises BootError."""
    default, least = NUMBERS[variable]
    text = os.environ.get(variable, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or not least <= int(text) <= 1000000:
        raise BootError(f"{variable} is '{text[:60]}', allowed is a number from {least} to 1000000")
    return int(text)


def check_engine() -> None:
    """The engine: only the local one, so far. Raises BootError."""
    engine = os.environ.get("TS_ENGINE", "")
    if engine not in ("", "local"):
        raise BootError(f"TS_ENGINE is '{engine[:60]}', allowed is local")


def take_own_zone() -> None:
    """Use the machine's time zone, not that of the call that starts the server. The launcher removes TZ too, before
    Python reads it; a service manager, which starts the server otherwise, may set it."""
    if os.environ.pop("TZ", None) is not None:
        import time

        time.tzset()


def switch(variable: str) -> bool | None:
    """0 or 1 from the environment, None if it is not set. Raises BootError."""
    text = os.environ.get(variable, "")
    if text not in ("", "0", "1"):
        raise BootError(f"{variable} is '{text[:60]}', allowed is 0 or 1")
    return text == "1" if text else None


def close_all_but(report: int) -> None:
    """Close everything inherited from the first client, so that its pipes and files end when it does."""
    try:
        fds = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:  # hidden
        fds = list(range(min(os.sysconf("SC_OPEN_MAX"), 65536)))
    for fd in fds:
        if fd > 2 and fd != report:
            try:
                os.close(fd)
            except OSError:
                pass  # the descriptor of the listing itself


def check_name(socket: str, make: bool = True) -> None:
    """Refuse a name that cannot be a queue's, or that another user has taken. Creates only the default's directory if
    it is missing. Raises BootError."""
    import stat

    directory = os.path.dirname(socket)
    try:
        if not os.path.lexists(directory):
            if not paths.is_default(socket):
                raise BootError(f"{directory} is not there, so it cannot hold a queue: make it, or correct TS_SOCKET")
            if not make:
                return
            os.mkdir(directory, 0o700)
    except FileExistsError:
        pass  # another call was faster
    except OSError as error:
        raise BootError(f"{directory}: {error.strerror}") from None
    if not os.path.isdir(directory):
        raise BootError(f"{directory} is not a directory, so it cannot hold a queue")
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        raise BootError(f"{directory} is not writable, so it cannot hold a queue")
    try:
        st = os.lstat(socket)
    except FileNotFoundError:
        return
    except OSError as error:
        raise BootError(f"{socket}: {error.strerror}") from None
    if st.st_uid != os.geteuid():
        raise BootError(f"{socket} is taken by user {st.st_uid}: set TS_SOCKET to another path")
    if not stat.S_ISSOCK(st.st_mode):
        raise BootError(f"{socket} exists and is not a socket: set TS_SOCKET to another path")


def lock(directory: int, socket: str, place: str, report: int, alive: bytes) -> int | None:
    """Take the locks that make this the only server of the state directory; the descriptor of its file `lock`, to be
    kept. None if a server answers instead. Raises BootError if neither happens for a while.

    Locks the directory itself, because nobody can remove that lock and keep the jobs, and its file `lock`, the only
    lock of servers of earlier releases. The file names its holder, and says whether it still recovers the queue; this
    waits for the recovery, however long it takes."""
    import time

    # A separate open file description: runners get a copy of `directory`, and would keep the lock when their server is
    # gone.
    own = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    file = -1
    socket_dir = -1  # gone: no server can answer there
    try:
        socket_dir = os.open(os.path.dirname(socket), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        pass
    name = os.fsencode(os.path.basename(socket))
    patience = time.monotonic() + LOCK_PATIENCE_S
    ours = told = False
    try:
        while True:
            ours = ours or locked(own)
            if file < 0:
                file = trust.open_file("lock", os.O_RDWR | os.O_CREAT, directory)
            alone = ours and locked(file)
            if alone and not is_named(file, "lock", directory):  # deleted while we waited for it
                os.close(file)
                file = -1
                continue
            # Even without another lock holder: the server may have another state directory.
            if socket_dir >= 0 and checks.answers(socket_dir, name):
                os.close(own)
                os.close(file)
                return None
            if alone:
                write_lock(file, TAKES_UP)
                return file
            if os.pread(file, 64, 0).endswith(TAKES_UP):
                if not told:
                    tell(report, alive)
                told = True
                patience = time.monotonic() + LOCK_PATIENCE_S
            if time.monotonic() > patience:
                raise BootError(f"another server holds the queue but does not answer; see {place}/log")
            time.sleep(0.005)  # one that ends, or one that is just starting
    finally:
        if socket_dir >= 0:
            os.close(socket_dir)


def locked(fd: int) -> bool:
    """Whether this process has the lock now. True for directories that cannot be locked: `lock` is locked as well."""
    import fcntl
    import stat

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            raise
    return True


def is_named(fd: int, name: str, directory: int) -> bool:
    """Whether the open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(name, dir_fd=directory, follow_symlinks=False))
    except FileNotFoundError:
        return False


def write_lock(fd: int, more: bytes) -> None:
    """Write the holder of the lock, for waiting processes and for people."""
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d%s" % (os.getpid(), more), 0)
    except OSError:
        pass  # a full disk


def open_log(directory: int) -> int:
    """The server's log, started anew when it has become long."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    fd = trust.open_file("log", flags, directory)
    if os.fstat(fd).st_size > LOG_LIMIT:
        os.rename("log", "log.old", src_dir_fd=directory, dst_dir_fd=directory)
        os.close(fd)
        fd = trust.open_file("log", flags, directory)
    return fd


def note(text: str) -> None:
    """A line in the log, which is stderr from detach() on."""
    import time

    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    try:
        os.write(2, as_line(f"{stamp} {text}"))
    except OSError:
        pass  # a full disk must not end the server


def boot_id() -> str:
    """Identifies this boot of the machine; empty without /proc."""
    try:
        fd = os.open("/proc/sys/kernel/random/boot_id", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, 64).decode("ascii", "replace").strip()
    finally:
        os.close(fd)


def detach(log: int, by_unit: bool) -> None:
    """Reset what belongs to the first client: session, directory, limits, priorities, processors, descriptors.

    Soft limits rise to the hard ones: a job gets its own client's limits, at most those of its server."""
    import resource

    try:
        os.setsid()
    except PermissionError:
        pass  # it leads its process group already
    os.chdir("/")
    for name in dir(resource):
        if name.startswith("RLIMIT_"):
            try:
                hard = resource.getrlimit(getattr(resource, name))[1]
                resource.setrlimit(getattr(resource, name), (hard, hard))
            except (ValueError, OSError):
                pass  # unknown to this kernel
    if not by_unit:
        leave_priorities()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.dup2(log, 2)
    os.close(null)
    os.close(log)


def leave_priorities() -> None:
    """Reset the first client's priorities, and what else children inherit: each as far as allowed, because jobs get a
    note of what could not be applied."""
    try:
        if os.sched_getscheduler(0) != os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    except OSError:
        pass
    try:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    except OSError:
        pass
    try:
        os.sched_setaffinity(0, range(1024))
    except (OSError, ValueError):
        pass
    inherited.leave_kernel_settings()
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return  # hidden
    try:
        if os.read(fd, 16) != b"0\n":
            os.pwrite(fd, b"0", 0)
    except OSError:
        pass
    finally:
        os.close(fd)
