"""A server that takes its queue up for long: its callers wait for it, whoever of them started it."""

import signal
from pathlib import Path

from support.fault_harness import kill, stopped
from support.patience import ts_patience


def test_calls_wait_for_a_queue_that_is_taken_up(queue):
    queue.start()
    job = queue.job("seven", queue.gate("seven") + "; exit 7")
    queue.until_running(job)
    queue.kill_server()
    queue.open_gate("seven")
    queue.until(lambda: not queue.runners(), "the runner's end")
    queue.env["TS_PATIENCE"] = ts_patience(1)
    first = queue.begin("-w", job, fault="recover-recorded:stop")
    server = queue.until(lambda: stopped(queue.server()) and queue.server(), "the server stops at its point")
    lock = Path(queue.env["TS_SOCKET"] + ".lock")
    queue.until(lambda: lock.read_text() == f"{server} alive\n", "the first call has heard of it")
    assert (queue.state / "lock").read_text() == f"{server} takes the queue up\n"
    second = queue.begin("-w", job)
    kill(first.pid)
    # It starts a server of its own, which finds the other one and says that this is well.
    queue.until(lambda: lock.read_text() not in (f"{server} alive\n", "") and "alive" in lock.read_text(), "another")
    assert second.poll() is None
    kill(server, signal.SIGCONT)
    queue.end(second, 7)
    assert (queue.state / "lock").read_text() == f"{server}\n"
    assert queue.server() == server
    assert queue.started() == ["seven"]
