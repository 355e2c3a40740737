"""How long a test waits for what should come. TSFAST_TEST_PATIENCE is the factor for slow builds and machines."""

import math
import os

FACTOR = float(os.environ.get("TSFAST_TEST_PATIENCE", "1"))


def patient(seconds: float) -> float:
    return seconds * FACTOR


def ts_patience(seconds: float) -> str:
    """The same for a call that is to give up or not to: whole seconds, as TS_PATIENCE takes them."""
    return str(math.ceil(patient(seconds)))
