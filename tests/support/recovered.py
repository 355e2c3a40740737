"""Recovers the queue of each state directory that is named on stdin and tells what is in it, a line of JSON each: what
a server finds there after a start of the machine. A process of its own: each recovery is a fork of a small one."""

import json
import os
import sys
import traceback

from tsfast import _core
from tsfast.render import listing
from tsfast.store import table


def recover(path: str, out: int) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    server = _core.Server(
        state_dir=os.dup(directory),
        socket_path=os.path.join(path, "socket"),
        runner=os.path.join(os.path.dirname(_core.__file__), "native", "ts-run"),
        boot_id="another-boot",
        version=b"",
        max_unfinished=0,
        gpus=0,
        gpu_timeout=10,
        cancel_grace=0,
        durable=None,
        fault=b"",
    )
    damaged = server.recover(1, 1000)
    with os.fdopen(out, "wb") as stream:
        told = {"held": damaged, "damaged": server.damaged, "truncated": server.truncated}
        told["slots"] = table.Table(os.dup(directory), False).slots
        stream.write(json.dumps(told).encode())
        stream.write(b"\n")
        listing.write_list(directory, 1, 0, False, stream.write)


def main() -> None:
    for line in sys.stdin:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                recover(line.rstrip("\n"), write)
            except BaseException:
                os.write(write, f"failed\n{traceback.format_exc()}".encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as stream:
            head, _, rest = stream.read().partition(b"\n")
        os.waitpid(child, 0)
        try:
            answer = {**json.loads(head), "jobs": json.loads(rest)}
        except ValueError:
            answer = {"error": (head + b"\n" + rest).decode("utf-8", "replace")}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
