"""How long the state machines look: HYPOTHESIS_PROFILE=deep, much longer."""

import os
from datetime import timedelta

from hypothesis import HealthCheck, settings

from support.patience import patient

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
SETTINGS = settings(
    max_examples=3000 if DEEP else 250,
    stateful_step_count=120 if DEEP else 50,
    deadline=timedelta(seconds=patient(5)),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
