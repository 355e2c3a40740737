"""SIGTERM in every phase: the server ends between two turns with all that it has begun done, its queue is kept, and the
next call's server goes on with it. Runners take no notice."""

import signal
import threading

import psutil
import pytest

from support.processes import kill, stopped
from system.fault.test_fault_points import RUNNER_POINTS, SERVER_POINTS, check_books, scenario


class Terminator(threading.Thread):
    """Waits until the server stops at its point, and lets it go on with SIGTERM pending."""

    def __init__(self, queue, server):
        super().__init__()
        self.queue, self.server = queue, server
        self.start()

    def run(self):
        self.queue.wait_until(lambda: stopped(self.server), "the server stops at its point")
        terminate(self.server)
        self.queue.until_dead(self.server)


def terminate(pid):
    kill(pid, signal.SIGTERM)
    kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("point", [name for name in SERVER_POINTS if name != "recover-recorded"])
def test_server(queue, point):
    server = queue.start_server(f"{point}:stop")
    terminator = Terminator(queue, server)
    ids = scenario(queue)
    terminator.join()
    assert "ended by SIGTERM; the queue is kept" in queue.log()
    check_books(queue, ids)
    assert queue.server() not in (0, server)


def test_server_that_recovers(queue):
    queue.start_server()
    job = queue.job("seven", queue.until_opened("seven") + "; exit 7")
    queue.until_running(job)
    queue.kill_server()
    queue.open_gate("seven")
    queue.wait_until(lambda: not queue.runners(), "the runner's end")
    call = queue.start("-w", job, fault="recover-recorded:stop")
    server = queue.wait_until(lambda: stopped(queue.server()) and queue.server(), "the server stops at its point")
    terminate(server)
    queue.answer(call, None)
    assert call.returncode in (7, 255)
    queue.until_dead(server)
    assert queue.wait(job) == 7
    assert queue.started() == ["seven"]


def test_process_that_is_about_to_be_a_server(queue):
    """Before it has the lock nothing is lost by its end: the call starts another one, or says so."""
    for number in range(5):
        call = queue.start(*queue.words(f"job-{number}", "exit 4"))
        child = queue.wait_until(
            lambda call=call: starting(call.pid) or call.poll() is not None, "the start of a server"
        )
        if child is not True:
            kill(child, signal.SIGTERM)
        queue.answer(call, None)
        assert call.returncode in (0, 255)
        if queue.server():
            queue.kill(queue.server())
    jobs = queue.by_id()
    assert {queue.wait(id) for id in jobs} <= {4}
    assert sorted(queue.started()) == sorted(set(queue.started())) and len(queue.started()) == len(jobs)


def starting(launcher):
    """The process of Python that a call has started."""
    try:
        return next((child.pid for child in psutil.Process(launcher).children()), 0)
    except psutil.NoSuchProcess:
        return 0


@pytest.mark.parametrize("point", RUNNER_POINTS)
def test_runner(queue, point):
    queue.start_server(f"{point}:stop")
    job = queue.job("one", "exit 4")
    runner = queue.wait_until(lambda: next(filter(stopped, queue.runners().values()), 0), "a runner stops at its point")
    terminate(runner)
    assert queue.wait(job) == 4
    assert queue.wait(queue.job("two", "exit 6")) == 6
    assert queue.started() == ["one", "two"]
