"""Scenarios that are scripts, as people write them: both spoolers must do alike."""

from system.compat.spoolers import gate
from system.compat.steps import Step, call, each, end, file, open_gate, rows, script, shell, start, typed, until

A, B, C, D = map(gate, "abcd")
HOOK = '#!/bin/sh\nprintf "<%s>" "$#" "$1" "$2" "$3" "$PWD" >"$HOOK_TO.new"; mv "$HOOK_TO.new" "$HOOK_TO"\n'
STATES = "ts | awk 'NR > 1 { print $1, $2 }'"  # of a list, as scripts take it apart

SCRIPTS: dict[str, tuple[Step, ...]] = {
    "a script counts the lines of the list": (
        typed("ts | wc -l; ts true >id; ts -w; ts | wc -l; ts true >id; ts -w; ts | wc -l; ts -l | grep -c finished"),
    ),
    "a script keeps the id and asks for the exit code": (
        typed('id=$(ts sh -c "exit 13"); echo "$id"; ts -w "$id"; echo $?; ts -s "$id"; ts -c "$id"; echo $?'),
    ),
    "a loop of submissions, and their outputs": (
        typed(
            'for word in one two three; do last=$(ts sh -c "echo $word"); done; ts -w "$last"\n'
            'for id in 0 1 2; do cat "$(ts -o "$id")"; done; ' + STATES
        ),
    ),
    "a script waits for each of several": (
        typed(
            'ts -S 3; for code in 3 0 5; do ts sh -c "exit $code"; done; for id in 2 0 1; do ts -w $id; echo $?; done'
        ),
    ),
    "output through pipes": (
        typed("ts seq 300; ts -w; ts -c | tail -n 1; ts -t | wc -l; wc -l <$(ts -o); ts -nf seq 3 | sort -r"),
    ),
    "fields of a finished row": (
        typed("ts true; ts -w; ts sh -c false; ts -w; ts | awk 'NR > 1 { print $1, $2, $4, $NF }'"),
    ),
    "a label is found in the list": (
        typed("ts -L nightly true; ts -L other true; ts -w; ts | grep -F '[nightly]' | awk '{ print $1, $2 }'"),
    ),
    "a chain of -d in a script": (typed("ts true; ts -d true; ts -d true; ts -w; echo $?; " + STATES),),
    "-d is about the one added just before": (
        call("-S", 4),
        *each(A, B),
        until(1, "running"),
        typed("ts -d true"),
        rows(),
        open_gate("b"),
        call("-w", 2),
        rows(),
        open_gate("a"),
        call("-w", 0),
    ),
    "-D of an id that a script has kept": (
        call("-S", 3),
        call(*A),
        until(0, "running"),
        typed('first=$(ts true); second=$(ts -D 0 true); ts -w "$first"; echo "$second"; ts -s "$second"'),
        open_gate("a"),
        typed("ts -w 2; echo $?; " + STATES),
    ),
    "-D of one that has ended well": (typed("ts true; ts -w; ts true; ts -w; ts -D 0 echo x; ts -w; cat $(ts -o)"),),
    "-u in a script": (
        *each(A, B, C, D),
        until(0, "running"),
        typed("ts -u 3; echo $?; " + STATES),
        typed("ts -u 2; echo $?; " + STATES),
        *map(open_gate, "acdb"),
        typed("ts -w 1; " + STATES),
    ),
    "-u of the one that is next": (
        *each(A, B, C),
        until(0, "running"),
        typed("ts -u 1; echo $?; " + STATES),
        *map(open_gate, "abc"),
    ),
    "-U in a script": (
        *each(A, B, C, D),
        until(0, "running"),
        typed("ts -U 1-2; echo $?; ts -U 3-1; echo $?; " + STATES),
        *map(open_gate, "acdb"),
        typed("for id in 1 2 3; do ts -w $id; done; " + STATES),
    ),
    "-r in a script": (
        *each(A, B, C),
        until(0, "running"),
        typed("ts -r 1; echo $?; ts -r 1; echo $?; ts -r 0; echo $?; ts true; " + STATES),
        *map(open_gate, "ac"),
        typed("ts -w 3; " + STATES + "; ts -r 2; echo $?; ts -r; echo $?; " + STATES),
    ),
    "-w of all that a script has queued": (
        call("-S", 2),
        *each(A, B),
        until(1, "running"),
        start("first", "-w", 0),
        start("second", "-w", 1),
        open_gate("b", 4),
        end("second"),
        open_gate("a", 6),
        end("first"),
        typed("ts -w 0; echo $?; ts -w 1; echo $?"),
    ),
    "-C in a script": (
        typed(
            "for n in 1 2 3; do ts true; done; ts -w; ts -C; echo $?; ts | wc -l; ts -C; echo $?; ts true; ts -w; "
            + STATES
        ),
    ),
    "-C leaves what runs and waits": (
        typed("ts true; ts -w"),
        *each(A, B),
        until(1, "running"),
        typed("ts -C; " + STATES),
        *map(open_gate, "ab"),
        typed("ts -w; ts -C; ts | wc -l"),
    ),
    "the program of TS_ONFINISH": (
        script("@/cwd/hook", HOOK),
        call("-L", "lab", *shell("exit 3"), env={"TS_ONFINISH": "@/cwd/hook", "HOOK_TO": "@/told"}),
        file("@/told"),
    ),
    "TS_ONFINISH is found on PATH, and is that of the call": (
        script("@/cwd/hook", HOOK),
        call("true"),
        call("echo", "two words", env={"TS_ONFINISH": "hook", "HOOK_TO": "@/told", "PATH": "@/cwd:/usr/bin:/bin"}),
        file("@/told"),
    ),
    "TS_ONFINISH of a job that a signal ends": (
        script("@/cwd/hook", HOOK),
        call(*shell("kill -9 $$"), env={"TS_ONFINISH": "@/cwd/hook", "HOOK_TO": "@/told"}),
        file("@/told"),
    ),
    "the session of a job is ended from outside": (
        call(*A),
        until(0, "running"),
        typed("kill -- -$(ts -p 0); ts -w 0; echo $?; " + STATES),
    ),
    "slots by the environment of the first call": (
        call(*A, env={"TS_SLOTS": "2"}),
        *each(B, C),
        until(1, "running"),
        typed("ts -S; " + STATES),
        *map(open_gate, "abc"),
    ),
}
