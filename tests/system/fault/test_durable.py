"""TS_DURABLE=1: what it costs, how it is switched, and what becomes of damage. Power losses: test_power_loss.py."""

import os
import re
import subprocess

import pytest

from support.fault_queue import PATIENCE
from support.processes import alive
from support.state_files import flip


@pytest.fixture
def durable(queue):
    queue.environment["TS_DURABLE"] = "1"
    return queue


def journals(queue):
    return sorted((queue.state_dir / "journal").iterdir()) if (queue.state_dir / "journal").exists() else []


class Traced:
    """The calls that sync, of a server that runs already."""

    def __init__(self, queue, calls="fsync,fdatasync,syncfs,eventfd2,futex"):
        self.path, self.server = queue.directory / "strace", queue.server()
        command = ["strace", "-f", "-o", self.path, "-e", f"trace={calls}", "-p", str(self.server)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert "attached" in self.process.stderr.readline()

    def end(self):
        self.process.terminate()
        self.process.communicate(timeout=PATIENCE)
        return re.findall(r"^\d+ +(?:\[.*\] )?(\w+)\(", self.path.read_text(), re.MULTILINE)


def test_many_submissions_share_a_sync(durable):
    """While one group is synced the next one gathers."""
    durable.start_server()
    os.kill(durable.server(), 19)
    calls = [durable.start("-N", 99, "true") for _ in range(200)]
    traced = Traced(durable, "fdatasync")
    os.kill(durable.server(), 18)
    for call in calls:
        durable.answer(call)
    syncs = traced.end().count("fdatasync")
    print(f"{syncs} syncs for 200 submissions")
    assert 0 < syncs < 200
    assert len(durable.by_id()) == 200


def test_a_call_is_answered_after_one_sync(durable):
    durable.start_server()
    durable.ts("-N", 99, "true")  # its context is new
    traced = Traced(durable, "fdatasync,fsync")
    for _ in range(10):
        durable.ts("-N", 99, "true")
    assert len(traced.end()) in (10, 11)  # and perhaps one for what nobody waited for


def test_without_it_nothing_is_synced(queue):
    queue.start_server()
    traced = Traced(queue)
    for _ in range(5):
        assert queue.wait(queue.job("one", "exit 3")) == 3
    assert traced.end() == []
    assert not journals(queue)
    assert len(os.listdir(f"/proc/{queue.server()}/task")) == 1


def test_the_queue_stays_durable_until_it_is_switched_off(durable):
    durable.start_server()
    durable.job("one", "true", "-N", 99)
    assert journals(durable)
    durable.kill_server()
    durable.environment.pop("TS_DURABLE")
    durable.job("two", "true", "-N", 99)
    assert len(journals(durable)) == 1, "those of before are not needed any more"
    durable.kill_server()
    durable.environment["TS_DURABLE"] = "0"
    assert set(durable.by_id()) == {0, 1}
    assert not journals(durable)
    durable.kill_server()
    durable.environment["TS_DURABLE"] = "x"
    assert durable.ts("-l", code=None) == "ts: TS_DURABLE is 'x', allowed is 0 or 1\n"


def test_dropping_the_queue_ends_its_journal(durable):
    durable.start_server()
    durable.job("one", "true", "-N", 99)
    durable.ts("-K")
    assert not journals(durable)
    durable.start_server()
    durable.job("two", "true", "-N", 99)
    durable.kill_server()
    durable.ts("-K")
    assert not journals(durable)
    durable.environment.pop("TS_DURABLE")
    assert durable.by_id() == {}
    assert not journals(durable)


def test_death_of_the_server_between_writing_and_syncing(durable):
    """On the same boot nothing is replayed: the kernel has all that was written, the journal perhaps not."""
    durable.start_server("submit-committed:kill")
    job = durable.job("one", durable.until_opened("one") + "; exit 4")
    durable.until_started("one")
    durable.kill_server()
    durable.open_gate("one")
    assert durable.wait(job) == 4
    assert durable.started() == ["one"]
    assert "replayed" not in durable.log()


def test_foreground_jobs_get_their_descriptors(durable):
    durable.start_server()
    call = durable.start("-nf", "sh", "-c", "cat; exit 3", stdin=subprocess.PIPE)
    out, _ = call.communicate("through\n", timeout=PATIENCE)
    assert (out, call.returncode) == ("through\n", 3)


def test_sigterm_answers_those_who_were_served(durable):
    server = durable.start_server()
    call = durable.start("-N", 99, "true")
    durable.answer(call)
    os.kill(server, 15)
    durable.wait_until(lambda: not alive(server), "the server's end")
    assert set(durable.by_id()) == {0}


def test_damage_in_the_journal_is_told(durable, recorder):
    durable.start_server()
    for name in ("one", "two", "three"):
        durable.job(name, "true", "-N", 99)
    durable.kill_server()
    flip(journals(durable)[0], journals(durable)[0].read_bytes().index(b"echo two"))
    boot = durable.directory / "boot"
    boot.write_text("another boot\n")
    durable.environment |= {"LD_PRELOAD": str(recorder), "TSFAST_BOOT_ID_FILE": str(boot)}
    assert set(durable.by_id()) == {0, 1, 2}, "the table itself has not lost it"
    assert "the journal is damaged in 1 places" in durable.log()


def test_nothing_is_answered_when_the_disk_refuses(durable, recorder):
    """The call says so, in one line; once the disk is well again the queue goes on."""
    refusing = durable.directory / "refusing"
    durable.environment |= {"LD_PRELOAD": str(recorder), "TSFAST_SYNC_FAILS": str(refusing)}
    server = durable.start_server()
    durable.job("one", "true", "-N", 99)
    refusing.touch()
    said = durable.ts("-N", 99, "true", code=None)
    assert said.startswith("ts: ") and said.count("\n") == 1 and "Input/output error" in said
    durable.until_dead(server)
    assert "nothing can be promised any more" in durable.log()
    refusing.unlink()
    assert 0 in durable.by_id()
    assert durable.wait(durable.job("two", "exit 3")) == 3
