"""How long a test waits for what should come. TSFAST_TEST_PATIENCE is the factor for slow builds and machines."""

import os

FACTOR = float(os.environ.get("TSFAST_TEST_PATIENCE", "1"))


def patient(seconds: float) -> float:
    return seconds * FACTOR
