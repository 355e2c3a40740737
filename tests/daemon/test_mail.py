"""-m: the result is mailed through sendmail."""

import email
import email.policy
import json
from email.message import EmailMessage
from pathlib import Path

import pytest

from support.patience import wait_until
from support.queues import Queue


@pytest.fixture
def place(queue: Queue) -> Path:
    """A directory for PATH with a sendmail that stores what it gets as box/N."""
    place = queue.directory / "mailbin"
    place.mkdir()
    box = queue.directory / "box"
    box.mkdir()
    program = place / "sendmail"
    program.write_text(
        "#!/usr/bin/env python3\nimport json, os, sys\n"
        f"box = {str(box)!r}\n"
        "data = {'argv': sys.argv[1:], 'text': sys.stdin.buffer.read().decode('latin-1'), 'cwd': os.getcwd()}\n"
        "open(f'{box}/.{os.getpid()}', 'w').write(json.dumps(data))\n"
        "os.rename(f'{box}/.{os.getpid()}', f'{box}/{len(os.listdir(box)) - 1}')\n"
    )
    program.chmod(0o755)
    queue.environment["PATH"] = f"{place}:{queue.environment['PATH']}"
    queue.environment["USER"] = "ann"
    return box


def received(place: Path, number: int = 0) -> tuple[dict, EmailMessage]:
    path = place / str(number)
    wait_until(path.exists, f"mail {number} came")
    data = json.loads(path.read_text())
    return data, email.message_from_bytes(data["text"].encode("latin-1"), policy=email.policy.default)


def test_subject_recipient_body(queue: Queue, place: Path) -> None:
    job = queue.submit("-m", "sh", "-c", "echo hello; echo oops >&2; exit 3")
    data, mail = received(place)
    assert data["argv"] == ["-oi", "ann"]
    assert (mail["To"], mail.get_content_type()) == ("ann", "text/plain")
    assert mail["Subject"].startswith(f"ts: job {job} ended with error level 3: sh -c")
    text = mail.get_content()
    assert "Exit status: died with exit code 3\n" in text and "Enqueue time: " in text
    assert text.endswith("\n\nhello\noops\n")


def test_ts_mailto_comes_first(queue: Queue, place: Path) -> None:
    queue.submit("-m", "true", env={"TS_MAILTO": "bob@example.org"})
    assert received(place)[0]["argv"] == ["-oi", "bob@example.org"]


def test_undecodable_output_and_long_lines(queue: Queue, place: Path) -> None:
    queue.submit("-m", "printf", "caf\\303\\251 \\377 %02000d\\n.\\nFrom x\\n", 7)
    text = received(place)[1].get_content()
    assert text.endswith("caf\u00e9 \ufffd " + "0" * 1999 + "7\n.\nFrom x\n")


def test_long_output_is_cut_to_its_end(queue: Queue, place: Path) -> None:
    queue.submit("-m", "sh", "-c", "head -c 1500000 /dev/zero | tr '\\0' a; echo end")
    text = received(place)[1].get_content()
    assert "(the last 1000000 of 1500004 bytes)\na" in text
    assert text.endswith("aend\n") and len(text) < 1_010_000


def test_stderr_apart_is_in_it(queue: Queue, place: Path) -> None:
    queue.submit("-m", "-E", "sh", "-c", "echo hello; echo oops >&2")
    assert received(place)[1].get_content().endswith("\nhello\n\n--- stderr ---\noops\n")


def test_facts_of_ts_env_and_hook_beside_it(queue: Queue, place: Path) -> None:
    hook = queue.directory / "hook"
    hook.write_text(f"#!/bin/sh\necho $1 > {queue.directory}/hooked\n")
    hook.chmod(0o755)
    job = queue.submit("-m", "true", env={"TS_ENV": "echo about", "TS_ONFINISH": str(hook)})
    assert received(place)[1].get_content().startswith("Environment:\nabout\n")
    wait_until(lambda: (queue.directory / "hooked").exists())
    queue.get("-C")
    wait_until(lambda: queue.ids() == [], f"job {job} is forgotten")


def test_directory_that_is_gone(queue: Queue, place: Path) -> None:
    there = queue.directory / "there"
    there.mkdir()
    queue.submit("-m", "rmdir", there, cwd=there)
    assert received(place)[0]["cwd"] == "/"


def test_killed_job(queue: Queue, place: Path) -> None:
    queue.submit("-m", "sh", "-c", "kill -9 $$")
    mail = received(place)[1]
    assert "error level -1" in mail["Subject"]
    assert "killed by signal 9" in mail.get_content()


def test_refused_with_n(queue: Queue, place: Path) -> None:
    assert "-m" in queue.refused("-m", "-n", "true")
    assert "-m" in queue.refused("-nmf", "true")
    assert queue.ids() == []


def test_nobody_to_mail_to_is_a_line_in_the_log(queue: Queue, place: Path) -> None:
    assert queue.run("-m", "true", env={"USER": None}).returncode == 0
    wait_until(lambda: "the mail of job 0 was not sent: neither TS_MAILTO nor USER" in queue.log())


def test_no_sendmail_is_a_line_in_the_log(queue: Queue, place: Path) -> None:
    (place.parent / "mailbin" / "sendmail").write_text("#!/bin/sh\nexit 75\n")
    queue.finish("-m", "true")
    wait_until(lambda: "sendmail exited with 75" in queue.log())


def test_sendmail_is_not_looked_for_in_the_job_s_directory(queue: Queue, place: Path) -> None:
    """An empty part of PATH is the working directory, where others may have put one."""
    planted = queue.work / "sendmail"
    planted.write_text("#!/bin/sh\ntouch planted\n")
    planted.chmod(0o755)
    queue.submit("-m", "true", env={"PATH": f":.:/usr/bin:/bin:{place.parent / 'mailbin'}:"})
    assert received(place)
    assert not (queue.work / "planted").exists()
