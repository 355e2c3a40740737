"""A file system that answers as a test says, or not at all: the stand-in for a network mount that hangs, and for a
quota. It speaks the kernel's FUSE protocol itself and holds empty files in one directory."""

import ctypes
import errno
import os
import select
import struct
import subprocess
import threading
import time
from pathlib import Path

LOOKUP, FORGET, GETATTR, OPEN, WRITE, RELEASE, FLUSH, INIT, ACCESS, CREATE = 1, 2, 3, 14, 16, 18, 25, 26, 34, 35
INTERRUPT, BATCH_FORGET, ROOT = 36, 42, 1
DIRECTORY, FILE = 0o40777, 0o100666


class SlowDisk:
    """Mounted while it is used as a context. `refused`: error number of an operation; `hangs`: no operation is answered
    from then on; `asked`: operations that came and were not answered."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.refused: dict[int, int] = {}
        self.hangs = False
        self.asked = 0
        self.names: dict[int, bytes] = {}

    def __enter__(self) -> "SlowDisk":
        self.path.mkdir()
        self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        options = f"fd={self.fd},rootmode=40000,user_id=0,group_id=0,allow_other"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"slow", os.fsencode(self.path), b"fuse", 0, options.encode()) < 0:
            raise OSError(ctypes.get_errno(), "mount")
        self.stopped, self.stop = os.pipe()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.thread.is_alive():
            self.break_off()
        subprocess.run(["umount", "-l", self.path], check=True)

    def break_off(self) -> None:
        """The file system ends: whoever waits for an answer gets an error."""
        os.close(self.stop)
        self.thread.join()
        os.close(self.stopped)
        os.close(self.fd)

    def serve(self) -> None:
        while self.stopped not in select.select([self.fd, self.stopped], [], [])[0]:
            try:
                request = os.read(self.fd, 1 << 18)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):  # taken back meanwhile
                    continue
                return
            _, kind, unique, node = struct.unpack_from("=IIQQ", request)
            if kind in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            if self.hangs:
                self.asked += 1
                continue
            number = self.refused.get(kind, 0)
            answer = b"" if number else self.answer(kind, node, request[40:])
            if answer is None:
                number, answer = errno.ENOENT if kind == LOOKUP else errno.ENOSYS, b""
            os.write(self.fd, struct.pack("=IiQ", 16 + len(answer), -number, unique) + answer)

    def answer(self, kind: int, node: int, body: bytes) -> bytes | None:
        if kind == INIT:
            return struct.pack("=IIIIHHIIHHI28x", 7, 31, 0, 0, 8, 8, 65536, 1, 0, 0, 0)
        if kind == GETATTR:
            return struct.pack("=QII", 0, 0, 0) + attributes(node)
        if kind == LOOKUP:
            found = [node for node, name in self.names.items() if name == body.rstrip(b"\0")]
            return entry(found[0]) if found else None
        if kind == CREATE:
            node = ROOT + 1 + len(self.names)
            self.names[node] = body[16:].rstrip(b"\0")
            return entry(node) + struct.pack("=QII", 0, 0, 0)
        if kind == WRITE:
            return body[16:20] + bytes(4)  # all of it was taken
        return struct.pack("=QII", 0, 0, 0) if kind == OPEN else b"" if kind in (FLUSH, RELEASE, ACCESS) else None


def attributes(node: int) -> bytes:
    now = int(time.time())
    mode = DIRECTORY if node == ROOT else FILE
    return struct.pack("=6Q10I", node, 0, 0, now, now, now, 0, 0, 0, mode, 1, os.getuid(), os.getgid(), 0, 4096, 0)


def entry(node: int) -> bytes:
    return struct.pack("=4QII", node, 0, 0, 0, 0, 0) + attributes(node)
