"""A server that takes its queue up for long: its callers wait for it, whoever of them started it."""

import signal
from pathlib import Path

from support.patience import ts_patience
from support.processes import kill, stopped


def test_calls_wait_for_a_queue_that_is_taken_up(queue):
    queue.start_server()
    job = queue.job("seven", queue.until_opened("seven") + "; exit 7")
    queue.until_running(job)
    queue.kill_server()
    queue.open_gate("seven")
    queue.wait_until(lambda: not queue.runners(), "the runner's end")
    queue.environment["TS_PATIENCE"] = ts_patience(1)
    first = queue.start("-w", job, fault="recover-recorded:stop")
    server = queue.wait_until(lambda: stopped(queue.server()) and queue.server(), "the server stops at its point")
    lock = Path(queue.environment["TS_SOCKET"] + ".lock")
    queue.wait_until(lambda: lock.read_text() == f"{server} alive\n", "the first call has heard of it")
    assert (queue.state_dir / "lock").read_text() == f"{server} takes the queue up\n"
    second = queue.start("-w", job)
    kill(first.pid)
    # It starts a server of its own, which finds the other one and says that this is well.
    queue.wait_until(
        lambda: lock.read_text() not in (f"{server} alive\n", "") and "alive" in lock.read_text(), "another"
    )
    assert second.poll() is None
    kill(server, signal.SIGCONT)
    queue.answer(second, 7)
    assert (queue.state_dir / "lock").read_text() == f"{server}\n"
    assert queue.server() == server
    assert queue.started() == ["seven"]
