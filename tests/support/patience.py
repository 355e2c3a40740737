"""How long a test waits for what should come. TSFAST_TEST_PATIENCE is the factor for slow builds and machines."""

import math
import os
import time
from collections.abc import Callable

FACTOR = float(os.environ.get("TSFAST_TEST_PATIENCE", "1"))
POLL_S = 0.004


def patient(seconds: float) -> float:
    return seconds * FACTOR


def ts_patience(seconds: float) -> str:
    """The same for a call that is to give up or not to: whole seconds, as TS_PATIENCE takes them."""
    return str(math.ceil(patient(seconds)))


DEADLINE_S = patient(10.0)


def wait_until(condition: Callable[[], object], what: str = "", seconds: float = DEADLINE_S) -> object:
    """The first true value of the condition; fails the test at the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"never came true in {seconds} s: {what or condition}")
        time.sleep(POLL_S)
    return value
