"""What tests of executors share: tasks that run until they are told, and looks at their futures."""

from collections.abc import Callable

import tsfast
from support.patience import patient, wait_until
from support.queues import Gate
from tsfast.executor.executor import JobFuture

RESULT_S = patient(30)


def blocked(gate: Gate) -> Callable[[], str]:
    """A callable that waits for a gate."""
    path = str(gate.path)

    def wait() -> str:
        with open(path) as fifo:
            return fifo.read()

    return wait


def begun(api: tsfast.Queue, future: JobFuture[str]) -> None:
    """Its job runs, and the future says so."""
    wait_until(lambda: api.state(future.id) == "running" and future.running(), f"job {future.id} runs")


def still_works(executor: tsfast.Executor) -> None:
    assert executor.submit(abs, -3).result(RESULT_S) == 3
    assert executor.submit_argv(["true"]).result(RESULT_S).ok
