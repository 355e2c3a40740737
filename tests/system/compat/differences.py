"""The one table of what differs from Debian's tsp 1.0.1: tests take from it what each side shows, and
docs/differences.md is made of it (`PYTHONPATH=tests python tests/system/compat/differences.py` prints that page).

A row without steps is a statement only; the last column of the page names the rows that are tested.
"""

from typing import NamedTuple

from system.compat.spoolers import gate
from system.compat.steps import Step, call, file, list_lines, open_gate, output, rows, script, typed, until


class Difference(NamedTuple):
    name: str
    behaviour: str
    tsp: str
    ts: str
    reason: str
    steps: tuple[Step, ...] = ()
    shown_tsp: object = None  # by the last step
    shown_ts: object = None
    same_in: str = ""  # the version of tsp that shows what ts shows


A, B, C = map(gate, "abc")


def running(job: int, name: str) -> tuple[object, ...]:
    """The row of a job behind a gate."""
    return (job, "running", "path", "", f'sh -c : > "$0.up"; read code < "$0"; exit $code @/gate.{name}')


AFTER_FALSE = (call("false"), call("-w"))

DIFFERENCES = [
    # ---- dependencies ----
    Difference(
        "-d is no condition",
        "`-d` after a job that ended badly",
        "the job is skipped",
        "it runs",
        "as in the GPU fork; `-W` asks for success",
        (*AFTER_FALSE, call("-d", "true"), call("-w")),
        (255, ""),
        (0, ""),
    ),
    Difference(
        "the job added last",
        "which job `-r`, `-s`, `-w`, `-u`, `-d` mean without an id, after `-u` or `-U`",
        "the last one of the list",
        "the one with the highest id",
        "what was added last does not change when the order does",
        (
            *(call(*words) for words in (A, B, C)),
            until(0, "running"),
            call("-U", "1-2"),
            call("-r"),
            call("-s", 1),
        ),
        (255, ""),
        (0, "queued\n"),
    ),
    Difference(
        "the job added last has ended",
        "the same, once all jobs have ended",
        "the one that ended last",
        "the one with the highest id",
        "`-w` waits for what a script has queued before it",
        (
            call("-S", 2),
            *(call(*words) for words in (A, B)),
            until(1, "running"),
            open_gate("b", 4),
            call("-w", 1),
            open_gate("a", 6),
            call("-w", 0),
            call("-w"),
        ),
        (6, ""),
        (4, ""),
    ),
    Difference(
        "-u of a job that runs",
        "`-u ID` of a job that runs",
        "ends the server, and with it the queue",
        "an error",
        "only a queued job has a place in the queue",
        (*(call(*words) for words in (A, B)), until(0, "running"), call("-u", 0), call("-s", 1)),
        (255, ""),
        (0, "queued\n"),
    ),
    Difference(
        "-D is no condition",
        "`-D ID` of a job that ended badly",
        "the job is skipped",
        "it runs",
        "as in the GPU fork; `-W` asks for success",
        (*AFTER_FALSE, call("-D", 0, "true"), call("-w")),
        (255, ""),
        (0, ""),
    ),
    Difference(
        "several ids",
        "`-D 0,1`",
        "reads the first id only",
        "waits for both; `-D` and `-W` can be repeated",
        "as in the GPU fork",
        (
            call("-S", 2),
            call(*A),
            call(*B),
            until(1, "running"),
            call("-D", "0,1", "true"),
            rows(),
        ),
        ((2, 2), [running(0, "a"), running(1, "b"), (2, "queued", "(file)", "", "[0]&& true")]),
        ((2, 2), [running(0, "a"), running(1, "b"), (2, "queued", "(file)", "", "[0,1]&& true")]),
    ),
    Difference(
        "an id that was never given out",
        "`-D 99` where there is no job 99",
        "the job is queued, and skipped",
        "an error, and nothing is queued",
        "a typing mistake should be seen at once",
        (call("-D", 99, "true"),),
        (0, "0\n"),
        (255, ""),
    ),
    Difference(
        "-d without a job before it",
        "the list, after `-d` as the first job",
        "`&& true`",
        "`true`",
        "it depends on nothing",
        (call("-d", "true"), call("-w"), rows()),
        ((0, 1), [(0, "finished", "path", "0", "&& true")]),
        ((0, 1), [(0, "finished", "path", "0", "true")]),
    ),
    # ---- error levels ----
    Difference(
        "levels above 127",
        "the list, after `exit 200`",
        "-56",
        "200",
        "it is the exit status",
        (call("sh", "-c", "exit 200"), call("-w"), rows()),
        ((0, 1), [(0, "finished", "path", "-56", "sh -c exit 200")]),
        ((0, 1), [(0, "finished", "path", "200", "sh -c exit 200")]),
    ),
    Difference(
        "a command that is not there",
        "`-w` of a command that was not found",
        "255",
        "127 (126 where it could not be executed)",
        "as a shell does it",
        (call("no-such-command"), call("-w")),
        (255, ""),
        (127, ""),
    ),
    Difference(
        "a command that cannot be executed",
        "`-w` of a file without the right to execute it",
        "255",
        "126",
        "as a shell does it",
        (call("/etc/passwd"), call("-w")),
        (255, ""),
        (126, ""),
    ),
    Difference(
        "why a command did not run",
        "the output of a command that was not found",
        "`ts could not run the command`",
        "the command and the error",
        "to see what is wrong",
        (call("no-such-command"), call("-w"), output(0)),
        "ts could not run the command\n",
        "ts: cannot run 'no-such-command': No such file or directory\n",
    ),
    # ---- wrong calls ----
    Difference(
        "-k of an ended job",
        "`-k` of a job that does not run",
        "a signal to what may now be another process; exit code 0",
        "an error",
        "process ids are used again",
        (call("true"), call("-w"), call("-k", 0)),
        (0, ""),
        (255, ""),
    ),
    Difference(
        "an id that is no number",
        "`-s x`",
        "takes it for 0",
        "an error",
        "the answer would be about another job",
        (call("true"), call("-w"), call("-s", "x")),
        (0, "finished\n"),
        (255, ""),
    ),
    Difference(
        "words left over",
        "`-w 0 true`",
        "ignores the rest",
        "an error",
        "a job was meant",
        (call("true"), call("-w"), call("-w", 0, "true")),
        (0, ""),
        (255, ""),
    ),
    Difference(
        "long options",
        "`--help`",
        "refused",
        "long names for some options",
        "as in the GPU fork",
        (call("--help", code_only=True),),
        (255, None),
        (0, None),
    ),
    # ---- options ----
    Difference(
        "-E",
        "`-E`, in Debian 12",
        "the process of the job aborts; error level -1, no output",
        "two files",
        "a buffer there is too small",
        (call("-E", "sh", "-c", "echo out; echo err >&2"), call("-w")),
        (255, ""),
        (0, ""),
        same_in="1.0.3",
    ),
    Difference(
        "-g",
        "`-g`",
        "compresses the output",
        "is about GPUs; `echo` is none",
        "as in the GPU fork; `-z` compresses",
        (call("-g", "echo", "x", code_only=True),),
        (0, None),
        (255, None),
    ),
    Difference(
        "-m",
        "the mail of `-m`",
        "the output",
        "what `-i` says, and the output",
        "who reads it wants to know what it was and how it ended",
    ),
    Difference(
        "-N 0",
        "`-N 0`",
        "ends the server",
        "a job that takes no slot",
        "for jobs that only wait",
        (call("-N", 0, "true"), call("-w", 0, code_only=True)),
        (255, None),
        (0, None),
    ),
    # ---- the list ----
    Difference(
        "quoting",
        "words that need quotes, in the list",
        "as they are",
        "quoted",
        "a line can be pasted into a shell",
        (call("echo", "a b"), call("-w"), rows(raw=True)),
        ((0, 1), [(0, "finished", "path", "0", "echo a b")]),
        ((0, 1), [(0, "finished", "path", "0", "echo 'a b'")]),
    ),
    Difference(
        "newlines",
        "lines of a list of one job with newlines in label and command",
        "4",
        "2, the newlines are escaped",
        "one line is one job, and nobody writes to your terminal",
        (call("-L", "a\nb", "echo", "c\nd"), call("-w"), list_lines()),
        4,
        2,
    ),
    Difference(
        "times",
        "times in the list",
        "`Times(r/u/s)`, once a job has ended",
        "`Time`, with a unit, and of running jobs so far; user and system time are in `-i`",
        "as in the GPU fork",
    ),
    Difference(
        "long paths",
        "the output's path in the list",
        "whole",
        "cut after 15 columns if longer than 20; `-o` and `-M tab` show it whole",
        "as in the GPU fork: columns stay in line",
    ),
    Difference(
        "being started",
        "output of a job that is just being started, in the list",
        "`(...)`",
        "`(file)`",
        "it has none yet",
    ),
    Difference(
        "columns",
        "the fourth word of the row of a job that runs",
        "the first of its command",
        "how long it has run; `-M tab` has the same columns for each row",
        "as in the GPU fork",
        (call(*A), until(0, "running"), typed("ts | awk 'NR == 2 { print ($4 == \"sh\") }'")),
        (0, "1\n"),
        (0, "0\n"),
    ),
    Difference(
        "width",
        "long rows on a terminal",
        "whole",
        "cut to its width",
        "as in the GPU fork",
    ),
    # ---- how jobs run ----
    Difference(
        "variables of a job",
        "`TS_JOBID` and `PYTHONUNBUFFERED` in a job",
        "not set",
        "the id, and 1; `TS_OUTPUT` too",
        "a job should know itself; output is to be seen while it runs",
        (call("sh", "-c", "echo ${TS_JOBID-none} ${PYTHONUNBUFFERED-none}"), call("-w"), output(0)),
        "none none\n",
        "0 1\n",
    ),
    Difference(
        "-r and who waits",
        "`-w` of a job that is then removed",
        "waits for ever",
        "exits with 255",
        "the job will never end",
    ),
    Difference(
        "order",
        "jobs of one slot behind one that needs more than are free",
        "overtake it",
        "wait, in order",
        "else the large job may never start",
    ),
    Difference(
        "TS_MAXCONN",
        "what `TS_MAXCONN` limits",
        "connections: with 1, nothing more is answered while a job is queued",
        "unfinished jobs; questions are answered",
        "queued jobs are no processes",
    ),
    Difference(
        "TS_ONFINISH",
        "what the program of `TS_ONFINISH` finds",
        "its job as still running",
        "its job as ended; it is run at least once, also if the server dies in between",
        "it should be able to ask for the result",
    ),
    Difference(
        "words for TS_ONFINISH",
        "the command, as that program gets it",
        "its words, with blanks between them",
        "quoted, as in the list",
        "it can be run again",
        (
            script("@/cwd/hook", '#!/bin/sh\nprintf "%s" "$4" >new; mv new told\n'),
            call("echo", "two words", env={"TS_ONFINISH": "@/cwd/hook"}),
            file("@/cwd/told"),
        ),
        "echo two words",
        "echo 'two words'",
    ),
    Difference(
        "TS_ONFINISH and -n",
        "the program of `TS_ONFINISH`, for a job of `-n`",
        "gets id and error level",
        "gets four words as ever, an empty one for the file",
        "the command stays the fourth",
        (
            script("@/cwd/hook", '#!/bin/sh\nprintf "%s" "$#" >new; mv new told\n'),
            call("-n", "true", env={"TS_ONFINISH": "@/cwd/hook"}, code_only=True),
            file("@/cwd/told"),
        ),
        "2",
        "4",
    ),
    Difference(
        "TS_SAVELIST",
        "the file of `TS_SAVELIST`",
        "a shell script of the commands, without their quotes, labels and dependencies",
        "one with all of them, and the directories",
        "it is to queue the same jobs again",
    ),
    # ---- the server ----
    Difference(
        "processes",
        "what a queued job is",
        "a process, connected to the server",
        "a record in a file",
        "100,000 jobs can wait, and a caller that is killed takes none with it",
    ),
    Difference(
        "a killed server",
        "SIGKILL or SIGTERM of the server",
        "the queue is lost (SIGTERM: a list is saved with `TS_SAVELIST`)",
        "the next call goes on with the queue; running jobs run on, with their results",
        "queues outlive accidents",
    ),
    Difference(
        "-K",
        "`-K`",
        "may return before the server is gone; starts one to end it",
        "returns when it is gone; starts none. Ids go on from where they were",
        "the next call must not meet the dying server",
    ),
    Difference(
        "what jobs inherit",
        "limits, priorities, cgroup, namespaces of a job",
        "all are its caller's, whose child it is",
        "limits and priorities are its caller's, as far as the server may set them (a warning tells where it may not); "
        "cgroup and namespaces are those of the call that started the server",
        "queued jobs are no processes; `tsfast doctor` compares",
    ),
    Difference(
        "a socket of several users",
        "a socket that its owner has opened to others by `chmod`",
        "takes their jobs too, and runs them as its owner",
        "`ts` of another user refuses it; root may use anybody's",
        "whoever can queue a job can do all that the owner can",
    ),
    Difference(
        "the name of the server",
        "`pgrep`, `pkill`, `ps -C`",
        "server and callers are `tsp`",
        "the server is `tsfast`, what starts jobs `ts-run`",
        "a server is no call, and `pkill tsp` should not end it",
    ),
    Difference(
        "the socket",
        "the default socket",
        "`$TMPDIR/socket-ts.UID`",
        "`$TMPDIR/tsfast-UID/socket`, in a directory closed to others",
        "nobody else can put a socket there",
    ),
    Difference(
        "more options",
        "`-a` `-F` `-M` `-O` `-q` `-R` `-T` `-W`, `--get_logdir`, `--set_logdir`, `--why`, `--wait-all`, sets of ids",
        "unknown",
        "there",
        "from the GPU fork, or new",
    ),
]


def page() -> str:
    """docs/differences.md"""
    lines = [
        "# Differences from tsp",
        "",
        "Debian 12's package `task-spooler` installs Task Spooler 1.0.1 as `tsp`. The tests in `tests/system/compat`",
        "run the same scripts through it and through `ts` and compare states, order, ids, exit codes, outputs and",
        "lists. What differs is in this table, which those tests read: where the last column says yes, they hold both",
        "sides to it.",
        '1.0.3 differs from `ts` in the same, but for what is marked "in Debian 12".',
        "",
        "This page is written by `tests/system/compat/differences.py`; change the table there.",
        "",
        "| what | tsp 1.0.1 | ts | why | tested |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in DIFFERENCES:
        cells = (row.behaviour, row.tsp, row.ts, row.reason, "yes" if row.steps else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
