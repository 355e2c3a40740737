"""Times of day are shown in the time zone of whoever reads them; the server has that of the machine, and never looks at
one that a call brings."""

import os
import re
import signal
import time

import pytest

from daemon.test_mail import place, received
from support.patience import patient
from support.queues import Queue

__all__ = ["place"]  # a fixture

ZONES = [("JST-9", 9), ("EST5", -5), ("UTC0", 0), ("", 0)]
FORMAT = "%a %b %e %H:%M:%S %Y"


def moments(queue: Queue, job: int) -> dict[str, float]:
    """What -i shows as times, from the table."""
    (found,) = [entry for entry in queue.jobs() if entry["ID"] == job]
    return {
        "Enqueue time": found["Enqueue_Time"],
        "Start time": found["Start_Time"],
        "End time": found["End_Time"],
    }


def at(moment: float, hours: int) -> str:
    """In a zone so many hours east of UTC."""
    return time.strftime(FORMAT, time.gmtime(moment + 3600 * hours))


@pytest.mark.parametrize("first", ["UTC0", "JST-9", "EST5", None])
def test_information_in_the_zone_of_each_call(queue: Queue, first: str | None) -> None:
    job = queue.finish("true", env={"TZ": first})
    times = moments(queue, job)
    for zone, hours in ZONES:
        shown = queue.get("-i", job, env={"TZ": zone})
        for name, moment in times.items():
            assert f"{name}: {at(moment, hours)}\n" in shown, zone
        assert queue.get("-i", env={"TZ": zone}) == shown
        several = queue.get("-i", f"{job},{job}", env={"TZ": zone})
        assert several == f"Job: {job}\n{shown}\n\nJob: {job}\n{shown}"


def test_a_call_without_a_zone_has_that_of_the_machine(queue: Queue) -> None:
    job = queue.finish("true", env={"TZ": "JST-9"})
    shown = queue.get("-i", job)
    for name, moment in moments(queue, job).items():
        assert f"{name}: {time.strftime(FORMAT, time.localtime(moment))}\n" in shown
    log = [line[:19] for line in queue.log().splitlines()]
    started = time.mktime(time.strptime(log[0], "%Y-%m-%d %H:%M:%S"))
    assert abs(started - moments(queue, job)["Enqueue time"]) < 3600


def test_foreign_text_is_no_time(queue: Queue) -> None:
    job = queue.finish("-L", "\x0112345\n", "true", "\x0112345\n")
    shown = queue.get("-i", job, env={"TZ": "JST-9"})
    assert "\x01" not in shown and shown.count(" time: ") == 5  # with user and system time
    assert r"Label: \x0112345\n" in shown


def test_mail_in_the_zone_of_the_job(queue: Queue, place: object) -> None:
    for number, (zone, hours) in enumerate(ZONES):
        job = queue.finish("-m", "true", env={"TZ": zone})
        _, mail = received(place, number)
        text = mail.get_content()
        for name, moment in moments(queue, job).items():
            assert f"{name}: {at(moment, hours)}\n" in text, zone


@pytest.mark.parametrize("zone", [":{}", "{}"])
def test_a_zone_that_is_a_fifo_holds_up_nobody_else(queue: Queue, zone: str) -> None:
    """Whoever opens it waits for a writer that never comes."""
    fifo = queue.directory / "zone"
    os.mkfifo(fifo)
    hostile = zone.format(fifo)
    child = queue.start("true", env={"TZ": hostile})
    assert child.wait(patient(30)) == 0, "the server's start"
    pid = queue.server_pid()
    queue.get("--setenv", f"TZ={hostile}")
    assert queue.get("--getenv", "TZ") == hostile
    queue.wait(0)
    for env in ({}, {"TZ": "UTC0"}):
        assert re.search(r"^End time: .* \d{4}$", queue.get("-i", 0, env=env), re.MULTILINE)
    queue.finish("--log", "{date}.txt", "true")
    queue.finish("--batch", "-", stdin="--log x-{date} true\n")
    assert queue.server_pid() == pid
    queue.get("--setenv", f"TS_SAVELIST={queue.directory}/saved")
    assert queue.kill_server(signal.SIGTERM) == pid
    assert "ended by SIGTERM" in queue.log(), "the server writes the time there, and in the list"
    assert (queue.directory / "saved").read_text().startswith("# jobs of tsfast, ")


def test_the_log_has_the_zone_of_the_machine(queue: Queue) -> None:
    queue.submit("true", env={"TZ": "XXX-14"})
    queue.get("--setenv", "TZ=YYY12")
    assert queue.get("--getenv", "TZ") == "YYY12"
    queue.get("--unsetenv", "TZ")
    assert queue.get("--getenv", "TZ") == ""
    queue.kill_server()
    queue.get("-l", env={"TZ": "YYY12"})
    stamps = [line[:19] for line in queue.log().splitlines() if re.match(r"\d{4}-", line)]
    assert stamps
    now = time.time()
    assert all(abs(time.mktime(time.strptime(stamp, "%Y-%m-%d %H:%M:%S")) - now) < 3600 for stamp in stamps)
