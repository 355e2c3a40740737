"""Machines with GPUs for the tests of the choice, and jobs on them."""

from tsfast.resources.gpus import GpusProbe

WHOLE = 1000
MOST = 1024


def uuid(number):
    return f"GPU-{number}".encode()


def machine(count, seed=1, **facts):
    """So many empty GPUs, slot = index; a fact is a value for all, or a list."""
    probe = GpusProbe(seed)
    for i in range(count):
        mine = {name: value[i] if isinstance(value, list) else value for name, value in facts.items()}
        assert probe.report(uuid(i), i, **mine) == i
    probe.round_end()
    return probe


def start(probe, **need):
    """Class and GPUs of a job that starts now."""
    number = probe.class_of(**need)
    slots = probe.choose(number)
    assert slots is not None
    assert probe.fits(number)
    probe.take(number, slots)
    probe.check_invariants()
    return number, slots


def waits(probe, **need):
    number = probe.class_of(**need)
    fits = probe.fits(number)
    assert (probe.choose(number) is None) == (not fits)
    probe.check_invariants()
    return not fits
