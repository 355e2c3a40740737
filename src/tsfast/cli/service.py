"""`tsfast install-service`: a unit of systemd that keeps a server for the queue; `tsfast serve`: what it runs.

If the queue has a server already, which any call of `ts` may have started, `tsfast serve` waits until that one ends,
and then becomes the next one. So there is always one server, and the service manager's own as soon as possible.
"""

import fcntl
import os
import pwd
import shlex
import shutil
import socket as sockets
import stat
import subprocess
import sys
import sysconfig

from tsfast.base import trust
from tsfast.base.text import as_line
from tsfast.cli import parsing, processes, shutdown
from tsfast.daemon import boot
from tsfast.location import paths, programs, state

MARK = "# Written by `tsfast install-service`, which writes it anew and removes it (--uninstall).\n"
# What a starting server reads, and its children; a user manager has none of it.
KEPT = (
    "TS_STATE TS_SLOTS TS_MAXFINISHED TS_MAXCONN TS_CANCEL_GRACE TS_DURABLE TS_ENGINE TS_VISIBLE_DEVICES "
    "TS_GPU_MEMORY_ONLY TS_GPU_TIMEOUT TS_LEASE_DIR TS_SAVELIST TMPDIR XDG_STATE_HOME TSFAST_VAR_TMP "
    "LD_LIBRARY_PATH".split()
)
# Variables that affect the interpreter before our first line; a user manager may have them (import-environment).
UNSET = (
    "PYTHONHOME PYTHONPATH PYTHONPLATLIBDIR PYTHONUSERBASE PYTHONHASHSEED PYTHONMALLOC PYTHONUTF8 PYTHONIOENCODING "
    "PYTHONWARNINGS PYTHONOPTIMIZE PYTHONINSPECT PYTHONVERBOSE PYTHONDEBUG PYTHONDEVMODE PYTHONPROFILEIMPORTTIME "
    "PYTHONTRACEMALLOC PYTHONINTMAXSTRDIGITS"
)
BOOTED_WITH_SYSTEMD = "/run/systemd/system"
WANTS = "default.target.wants"
LINGERING = "/var/lib/systemd/linger"
REFUSED = 255  # the code of a server that cannot start: a retry would not help
MARGIN_S = 10  # for the manager, after the jobs' grace time


class ServiceError(Exception):
    """The service cannot be installed or used. The text is for the user, without a leading `tsfast: `."""


def run(words: list[str]) -> int:
    """`tsfast install-service`; the exit code."""
    options = parsing.parse("install-service", words)
    if isinstance(options, int):
        return options
    try:
        socket = paths.canonical(paths.socket_path())
        if options.print:
            if os.isatty(1):
                say(unit(socket))
            else:  # into a file: the unit as it would be installed
                os.write(1, unit(socket).encode("utf-8", "surrogateescape"))
        elif options.uninstall:
            uninstall(socket)
        else:
            install(socket)
    except (ServiceError, OSError) as error:
        say(f"tsfast: {error}", 2)
        return REFUSED
    return 0


def say(text: str, fd: int = 1) -> None:
    """Lines for people."""
    os.write(fd, b"".join(map(as_line, text.removesuffix("\n").split("\n"))))


# ---- the unit ----


def default_socket() -> str:
    return paths.canonical(paths.default_path("/tmp"))


def unit_name(socket: str) -> str:
    return "tsfast.service" if socket == default_socket() else f"tsfast-{paths.queue_name(socket)}.service"


def unit_path(socket: str) -> str:
    home = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(home):
        home = os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(home, "systemd", "user", unit_name(socket))


def program() -> str:
    """The command `tsfast` of this installation."""
    called = os.path.abspath(sys.argv[0])
    return called if os.path.basename(called) == "tsfast" else os.path.join(sysconfig.get_path("scripts"), "tsfast")


def quoted(text: str, *, command: bool = False) -> str:
    """A word of a unit file; see systemd.syntax(7) and, for `$`, systemd.service(5)."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%")
    return f'"{text.replace("$", "$$")}"' if command else f'"{text}"'


def environment(socket: str) -> dict[str, str]:
    return {"TS_SOCKET": socket} | {name: os.environ[name] for name in KEPT if os.environ.get(name)}


def stop_timeout() -> int:
    try:
        return shutdown.grace() + MARGIN_S
    except boot.BootError as error:
        raise ServiceError(str(error)) from None


def unit(socket: str) -> str:
    variables = "".join(f"Environment={quoted(f'{name}={value}')}\n" for name, value in environment(socket).items())
    return f"""{MARK}
[Unit]
Description=Job queue {socket.replace("%", "%%")}
Documentation=man:ts(1)
# However often a server ends, the next one comes up.
StartLimitIntervalSec=0

[Service]
# It is up when the queue has a server, be it another one.
Type=notify
TimeoutStartSec=infinity
ExecStart={quoted(program(), command=True)} serve
{variables}UnsetEnvironment={UNSET}
# There is always a server: also after SIGTERM, ts -K and an upgrade, which end the one there was.
Restart=always
RestartSec=1
RestartPreventExitStatus={REFUSED}
# Only the server ends with the service. Jobs run on, and the next server takes up their results.
KillMode=process
# When the manager itself ends, it kills what is left: jobs get SIGTERM and the grace time of --cancel before that.
ExecStopPost=-{quoted(program(), command=True)} serve --after
TimeoutStopSec={stop_timeout()}
# A job that is killed for want of memory is no failure of the server.
OOMPolicy=continue

[Install]
WantedBy=default.target
"""


def ours(path: str) -> str | None:
    """Our existing unit, None if there is none. Raises ServiceError for a foreign one."""
    try:
        about = os.lstat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISREG(about.st_mode):
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        if text.startswith(MARK):
            return text
    raise ServiceError(f"{path} exists and was not written by `tsfast install-service`: remove it first")


# ---- installing ----


def install(socket: str) -> None:
    path, text = unit_path(socket), unit(socket)
    before = ours(path)
    if not os.path.isdir(BOOTED_WITH_SYSTEMD):
        raise ServiceError(without_systemd(socket))
    if not os.access(program(), os.X_OK):
        raise ServiceError(f"{program()} is not there: install tsfast-spooler again")
    write(path, text)
    say(f"written: {path}\n")
    name = unit_name(socket)
    if not systemctl(["daemon-reload"]):
        say(f"The user manager cannot be reached from here. In a session of yours:\n    {commands(name)}\n")
    elif not systemctl(["enable", "--now", name]):
        raise ServiceError(f"the unit exists, but no server started: systemctl --user status {name} says why")
    elif before not in (None, text):
        say(f"The server that runs has what it was started with, until\n    systemctl --user restart {name}\n")
    elif (pid := another(socket, name)) is not None:
        say(
            f"A call of `ts` has started the server, process {pid}: it and its jobs are not the service's. The\n"
            f"service takes the queue over when that server ends, and nothing is lost:\n    tsfast stop\n"
        )
    say(lingering())


def another(socket: str, name: str) -> int | None:
    """The pid of the queue's server, if it is not the service's."""
    try:
        place = state.find(socket, os.environ)
    except paths.StateError:
        return None  # the service says it
    if place is None or (holder := processes.server_of(place)) is None:
        return None
    call = ["systemctl", "--user", "show", "--value", "--property=MainPID", name]
    main = subprocess.run(call, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stdout.strip()
    return None if main == str(holder) else holder


def write(path: str, text: str) -> None:
    """Writes it as a whole or not at all; systemd executes it, so no other user may be able to change it."""
    directory = trust.open_directory(os.path.dirname(path), make=True)
    try:
        trust.replace_file(os.path.basename(path), text.encode("utf-8", "surrogateescape"), directory)
    finally:
        os.close(directory)


def uninstall(socket: str) -> None:
    path, name = unit_path(socket), unit_name(socket)
    if ours(path) is None:
        say(f"not installed: {path} is not there\n")
        return
    stopped = systemctl(["disable", "--now", name])
    os.unlink(path)
    wanted = os.path.join(os.path.dirname(path), WANTS, name)
    if os.path.islink(wanted):  # the user has not disabled it
        os.unlink(wanted)
    say(f"removed: {path}\n")
    if not stopped or not systemctl(["daemon-reload"]):
        say(f"The user manager cannot be reached from here. In a session of yours:\n    systemctl --user stop {name}\n")
    say("The queue and its jobs stay; the next call of `ts` starts a server.\n")


def commands(name: str) -> str:
    return f"systemctl --user daemon-reload && systemctl --user enable --now {name}"


def systemctl(*calls: list[str]) -> bool:
    """Whether all of these calls succeeded. Shows systemctl's message about a failure."""
    if shutil.which("systemctl") is None:
        return False
    for words in calls:
        if subprocess.run(["systemctl", "--user", *words], stdin=subprocess.DEVNULL, check=False).returncode != 0:
            return False
    return True


def user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def lingering() -> str:
    if os.path.exists(os.path.join(LINGERING, user())):
        return "Your services start with the machine and outlive your sessions (lingering is on).\n"
    return (
        "Without lingering your services, this one and its jobs too, end with your last session, and start again when\n"
        "you log in. To let the queue outlive your sessions and start with the machine:\n"
        f"    loginctl enable-linger {user()}        # as root, if it is refused\n"
    )


def without_systemd(socket: str) -> str:
    """What to do instead."""
    words = [f"{name}={shlex.quote(value)}" for name, value in environment(socket).items()]
    line = " ".join(["@reboot", *words, shlex.quote(os.path.join(os.path.dirname(program()), "ts")), "-q"])
    return (
        "this machine does not run systemd, so no service can be installed. A server outlives sessions anyway.\n"
        "To start one after each boot, add this line with `crontab -e`:\n"
        f"    {line.replace('%', chr(92) + '%')} >/dev/null 2>&1"
    )


# ---- what the unit runs ----


def serve(words: list[str]) -> int:
    """`tsfast serve`: become the server of the queue, once there is no other. Returns only for --after and wrong
    words."""
    options = parsing.parse("serve", words)
    if isinstance(options, int):
        return options
    try:
        socket = paths.canonical(paths.socket_path())
        if options.after:
            shutdown.after_server(socket)
            return 0
        manager = service_manager()
        place = state.find(socket, os.environ)
        if place is not None:
            wait_for_the_end_of_another(place, manager)
    except (paths.StateError, boot.BootError, OSError) as error:
        os.write(2, as_line(f"tsfast: {error}"))
        return REFUSED
    os.set_inheritable(manager, True)
    os.environ["TSFAST_BOOT_FD"] = str(manager)
    os.environ["TSFAST_BOOT_WORDS"] = ""
    os.environ["TSFAST_BOOT_UNIT"] = "1"
    # Executed again: the package may have been replaced while this process waited.
    os.execv(sys.executable, programs.isolated("daemon.boot", socket))


def service_manager() -> int:
    """A descriptor for status messages to the service manager, as sd_notify(3); without one, messages are dropped."""
    name = os.environ.pop("NOTIFY_SOCKET", "")
    if name[:1] in ("/", "@"):
        with sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM) as channel:
            try:
                channel.connect("\0" + name[1:] if name[0] == "@" else name)
                return channel.detach()
            except OSError:
                pass  # no manager receives it; the server serves anyway
    return os.open("/dev/null", os.O_WRONLY)


def wait_for_the_end_of_another(place: str, manager: int) -> None:
    """Wait until no process holds a lock of servers (see boot.lock). The server takes them itself, so another one can
    still be first."""
    directory = state.open_place(place)
    fds = [directory]
    try:
        fds.append(trust.open_file("lock", os.O_RDWR, directory))
    except FileNotFoundError:
        pass
    for fd in fds:
        if not boot.locked(fd):
            boot.tell(manager, b"READY=1\nSTATUS=A server that is not the service's has the queue; waiting for its end")
            fcntl.flock(fd, fcntl.LOCK_EX)
    for fd in fds:
        os.close(fd)
