"""The variables whose names begin with TS_: whether they exist, and whether their values are allowed."""

import difflib
import os
from collections.abc import Callable, Iterator
from functools import partial

from tsfast.cli.doctor.finding import Finding, error, ok, warning

# Those of docs/configuration.md.
KNOWN = frozenset(
    "TS_SOCKET TS_STATE TS_SLOTS TS_MAXFINISHED TS_CANCEL_GRACE TS_MAXCONN TS_PATIENCE TS_DURABLE TS_ENGINE "
    "TS_VISIBLE_DEVICES TS_GPU_MEMORY_ONLY TS_GPU_TIMEOUT TS_LEASE_DIR TS_SAVELIST TS_ONFINISH TS_MAILTO TS_ENV "
    "TS_ENV_KEEP TS_ENV_DROP TS_JOBID TS_OUTPUT TS_ARRAY_ID TS_ARRAY_INDEX".split()
)
ALIKE = 0.75


def check() -> Iterator[Finding]:
    names = sorted(name for name in os.environ if name.upper().startswith("TS_"))
    for name in names:
        if name in KNOWN:
            continue
        meant = name.upper() if name.upper() in KNOWN else next(iter(nearest(name)), None)
        if meant:
            yield warning("variables", f"{name} has no meaning", f"rename it to {meant}")
        elif name.startswith("TS_"):
            yield ok("variables", f"{name} is not one of tsfast's")
    yield from wrong_values()
    known = [name for name in names if name in KNOWN]
    yield ok("variables", f"set: {', '.join(known)}" if known else "none is set")


def nearest(name: str) -> list[str]:
    return difflib.get_close_matches(name.upper(), KNOWN, 1, ALIKE)


def wrong_values() -> Iterator[Finding]:
    """Reports what a starting server would report."""
    from tsfast.daemon import boot
    from tsfast.monitor import visible

    reads: list[Callable[[], object]] = [partial(boot.number, name) for name in boot.NUMBERS]
    reads += [boot.check_engine, partial(boot.switch, "TS_DURABLE")]
    reads.append(partial(visible.check, os.environ.get("TS_VISIBLE_DEVICES")))
    for read in reads:
        try:
            read()
        except (boot.BootError, visible.VisibleError) as failure:
            yield error("variables", str(failure), "correct it; servers refuse it when they start")
    if os.environ.get("TS_GPU_MEMORY_ONLY", "") not in ("", "0", "1"):
        yield warning("variables", "TS_GPU_MEMORY_ONLY is not 0 or 1: no effect", "set it to 1, or unset it")
    for name in ("TS_SAVELIST", "TS_LEASE_DIR"):
        if not os.path.isabs(os.environ.get(name) or "/"):
            yield warning("variables", f"{name} is a relative path", "the server is in /: give an absolute one")
    if os.environ.get("TS_SAVELIST") and not os.path.isdir(os.path.dirname(os.environ["TS_SAVELIST"]) or "/"):
        yield warning("variables", "the directory of TS_SAVELIST is not there", "make it, or name another file")
