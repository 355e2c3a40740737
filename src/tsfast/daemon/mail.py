"""Composes the mail of a job of -m and passes it to sendmail when the job has ended.

Started by the server through `ts-run hook`, in the job's environment and directory, with stderr in the server's log:

    python -I -S -c '... main()' ID LEVEL OUTPUT COMMAND FACTS
"""

import email.message
import email.policy
import os
import re
import shutil
import subprocess
import sys
import time
from typing import NoReturn

from tsfast.base.text import as_line

OUTPUT_MOST = 1_000_000
SUBJECT_MOST = 200
SENDMAIL_PLACES = "/usr/sbin:/usr/lib"
PATH_DEFAULT = "/usr/local/bin:/usr/bin:/bin"


def read_output(path: bytes) -> str:
    """The job's output; only the end of a long one, after a line that says so."""
    if not path:
        return ""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY)) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - OUTPUT_MOST))
            data = file.read(OUTPUT_MOST)
    except OSError as error:
        return f"(the output could not be read: {error.strerror})\n"
    text = data.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    if size > OUTPUT_MOST:
        text = f"(the last {OUTPUT_MOST} of {size} bytes)\n{text}"
    return text


def dated(facts: str) -> str:
    """The facts, with times of day in the job's time zone where the server has left seconds."""

    def moment(mark: re.Match[str]) -> str:
        return time.strftime("%a %b %e %H:%M:%S %Y\n", time.localtime(int(mark[1])))

    return re.sub("\x01([0-9]+)\n", moment, facts)


def message(recipient: str, job: str, level: str, output: bytes, command: bytes, facts: bytes) -> bytes:
    """The mail as sendmail reads it."""
    mail = email.message.EmailMessage(policy=email.policy.SMTP.clone(linesep="\n"))
    shown = command.decode("utf-8", "replace")
    if len(shown) > SUBJECT_MOST:
        shown = shown[: SUBJECT_MOST - 3] + "..."
    mail["To"] = recipient
    mail["Subject"] = f"ts: job {job} ended with error level {level}: {shown}"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Task-Spooler-Job"] = job
    stderr = read_output(output + b".e") if os.path.exists(output + b".e") else ""
    body = dated(facts.decode("utf-8", "replace")) + "\n" + read_output(output)
    if stderr:
        body += f"\n--- stderr ---\n{stderr}"
    mail.set_content(body, subtype="plain", charset="utf-8", cte="quoted-printable")
    # Unfolded: a header that is folded right after its name reads back with a space in front.
    return mail.as_bytes(policy=mail.policy.clone(max_line_length=990))


def refuse(job: str, why: str) -> NoReturn:
    os.write(2, as_line(f"ts: the mail of job {job}{why}"))
    raise SystemExit(1)


def main() -> None:
    """Send it; an error is one line in the server's log."""
    job, level, output, command, facts = sys.argv[1:6]
    recipient = os.environ.get("TS_MAILTO") or os.environ.get("USER")
    if not recipient or any(c in recipient for c in "\r\n"):
        refuse(job, " was not sent: neither TS_MAILTO nor USER names a recipient")
    path = f"{os.environ.get('PATH') or PATH_DEFAULT}:{SENDMAIL_PLACES}"
    # Not one in the job's directory: other users may have put it there.
    program = shutil.which("sendmail", path=":".join(place for place in path.split(":") if place.startswith("/")))
    if program is None:
        refuse(job, " was not sent: sendmail was not found")
    try:
        text = message(recipient, job, level, os.fsencode(output), os.fsencode(command), os.fsencode(facts))
        done = subprocess.run([program, "-oi", recipient], input=text, stdout=subprocess.DEVNULL)
    except (OSError, ValueError) as error:
        refuse(job, f" was not sent: {error}")
    if done.returncode:
        refuse(job, f": {program} exited with {done.returncode}")
