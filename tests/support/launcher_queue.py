"""A queue's server, played by a test frame by frame, and an installation, played by a few lines."""

import array
import ctypes
import os
import shutil
import socket
import subprocess
import sys

from support import layouts, native
from support.patience import patient
from support.wire import DESCRIPTORS, EXEC, EXIT, HEAD, REQUEST, VERSION, code, frame

DEADLINE = patient(20)  # seconds; reached only by a failing test
ANOTHER_USER = 65534


class Peer:
    """The server's end of one connection."""

    def __init__(self, connection):
        self.socket = connection
        connection.settimeout(DEADLINE)

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            assert piece, "the launcher closed the connection"
            data += piece
        return data

    def frame(self, version=VERSION):
        head = layouts.tsf_frame.from_buffer_copy(self._exactly(HEAD))
        assert head.version == version
        return head.type, self._exactly(head.length)

    def request(self):
        kind, payload = self.frame()
        assert kind == REQUEST
        fields = layouts.tsf_request.from_buffer_copy(payload)
        found = {name: getattr(fields, name) for name in ("argc", "env_count", "umask", "nice", "columns", "tty")}
        found["token"] = bytes(fields.token)
        found["counted"] = bytes(fields.counted)
        found["limits"] = [tuple(pair) for pair in fields.limits]
        at = ctypes.sizeof(fields)
        for name in ("argv", "cwd", "env", "affinity"):
            size = getattr(fields, f"{name}_len")
            found[name], at = payload[at : at + size], at + size
        assert at == len(payload)
        found["words"] = found["argv"].split(b"\0")[:-1]
        found["environment"] = found["env"].split(b"\0")[:-1]
        assert len(found["words"]) == found["argc"]
        assert len(found["environment"]) == found["env_count"]
        return found

    def descriptors(self):
        fds = array.array("i")
        data, control, _, _ = self.socket.recvmsg(HEAD, socket.CMSG_SPACE(3 * fds.itemsize))
        assert layouts.tsf_frame.from_buffer_copy(data).type == DESCRIPTORS
        for _, _, payload in control:
            fds.frombytes(payload)
        return list(fds)

    def send(self, *frames):
        self.socket.sendall(b"".join(frames))

    def close(self):
        self.socket.close()


class LauncherQueue:
    """A listening socket and the launchers that were started for it."""

    def __init__(self, program, path, tmp_path):
        self.program, self.path, self.tmp_path = program, path, tmp_path
        self.children, self.peers = [], []
        self.listener = None

    def listen(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.settimeout(DEADLINE)
        directory = os.open(self.path.parent, os.O_PATH)
        self.listener.bind(f"/proc/self/fd/{directory}/{self.path.name}")
        os.close(directory)
        self.listener.listen(64)

    def start(self, *words, env=None, **options):
        environment = {"TS_SOCKET": str(self.path), "PATH": "/usr/bin:/bin"} | (env or {})
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | options
        child = subprocess.Popen(native.words(self.program, *words), env=environment, **options)
        self.children.append(child)
        return child

    def accept(self):
        peer = Peer(self.listener.accept()[0])
        self.peers.append(peer)
        return peer

    def close(self):
        for peer in self.peers:
            peer.close()
        if self.listener:
            self.listener.close()
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.communicate(timeout=DEADLINE)


def ended(child):
    out, err = child.communicate(timeout=DEADLINE)
    return child.returncode, out, err


def read_exactly(stream, size):
    data = b""
    while len(data) < size:
        piece = os.read(stream.fileno(), size - len(data))
        assert piece
        data += piece
    return data


BOOT = """
import os, socket, sys, time

def main(way="short"):
    words = [w for w in sys.argv if w != "--boot"][1:]
    path, given = words[0], os.environ.pop("TSFAST_BOOT_WORDS")
    assert words == [path] and "words" not in sys.argv
    text = os.pread(int(given), 1 << 20, 0).decode() if given else ""
    words = text.split("\\0")[:-1]
    report = int(os.environ.pop("TSFAST_BOOT_FD"))
    with open(os.path.join(os.path.dirname(path), "boots"), "a") as log:
        log.write(way + " " + " ".join(words) + "\\n")
    if words[:1] == ["-K"]:
        print("nothing there", flush=True)
        os.write(report, b"X\\x03")
        os._exit(0)
    if words[:1] == ["die"]:
        os._exit(1)
    if words[:1] == ["alive"]:
        os.write(report, b"AA")
    while words[1:2] == ["held"] and not os.path.exists(path + ".go"):
        time.sleep(0.01)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(512)
    if os.fork():
        os._exit(0)
    os.write(report, b"L")
    os.close(report)
    for fd in (0, 1, 2):
        os.dup2(os.open("/dev/null", os.O_RDWR), fd)
    while True:
        peer = listener.accept()[0]
        request = b""
        while len(request) < HEAD or len(request) < HEAD + int.from_bytes(request[LENGTH], sys.byteorder):
            request += peer.recv(1 << 20)
        last = b"\\0stop\\0" in request
        peer.sendall(EXEC if b"\\0exec\\0" in request else EXIT)
        peer.close()
        if last:
            os._exit(0)
"""
LENGTH = layouts.tsf_frame.length.offset
BOOT += f"""
HEAD, LENGTH = {HEAD}, slice({LENGTH}, {LENGTH + layouts.tsf_frame.length.size})
EXEC, EXIT = {frame(EXEC)!r}, {frame(EXIT, code(0))!r}
"""


HELP = """
def print_help():
    import os, sys
    print("help", sys.flags.isolated, sys.flags.no_site, flush=True)
    os._exit(0)
"""


PROGRAM = "print('the program', sys.argv[1:], sys.flags.isolated, 'TSFAST_BOOT_FD' in os.environ)"


class Installation:
    def __init__(self, launcher, root):
        self.root = root
        (root / "bin").mkdir()
        self.launcher = root / "bin" / "ts"
        shutil.copy(launcher, self.launcher)
        self.script = root / "bin" / "tsfast"
        self.write_script(f"#!{sys.executable}\n")
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        self.package = root / "lib" / version / "site-packages" / "tsfast"
        self.package.mkdir(parents=True)
        (self.package / "__init__.py").write_text("")
        (self.package / "daemon").mkdir()
        (self.package / "daemon" / "boot.py").write_text(BOOT + HELP)
        (self.package / "cli").mkdir()
        (self.package / "cli" / "main.py").write_text(f"def main():\n    import os, sys\n    {PROGRAM}\n    return 7\n")
        (root / "lib64").symlink_to("lib")

    def write_script(self, head):
        self.script.write_text(
            head + "import os, sys\n"
            "if sys.argv[1:2] == ['--boot']:\n"
            f"    sys.path.insert(0, {str(self.root / 'lib' / 'slow')!r})\n"
            f"    exec({BOOT!r})\n"
            "    main('slow')\n"
            f"{PROGRAM}\n"
            "sys.exit(7)\n"
        )
        self.script.chmod(0o755)
