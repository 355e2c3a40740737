"""Selectors: the words behind an action that choose its jobs, and the words of long options that keep their meaning."""

import pytest

from tsfast.grammar.field_table import fields
from tsfast.grammar.options import ACTIONS, GrammarError, options, parse_words

WITH_SELECTORS = ("-l", "-s", "-i", "--why", "-w", "-u", "-r", "-k", "--cancel")
# What each beginning of a long option meant in 0.1.0, where it had one meaning. Later options do not change it.
PREFIXES = {
    "b": "batch",
    "co": "count_running",
    "h": "help",
    "la": "last_queue_id",
    "t": "truncate",
    "u": "unsetenv",
    "un": "unsetenv",
    "ve": "version",
    "ver": "version",
    "wa": "wait-all",
}


def parsed(*words: str) -> dict[str, object]:
    return dict(parse_words([word.encode() for word in words]))


def error(*words: str) -> str:
    with pytest.raises(GrammarError) as raised:
        parsed(*words)
    return str(raised.value)


@pytest.mark.parametrize("action", WITH_SELECTORS)
def test_ids_are_united(action: str) -> None:
    assert parsed(action, "5", "7-9,12", "3[4]")["ranges"] == [(5, 5), (7, 9), (12, 12), (3, 3, 4, 4)]
    assert parsed(action, "5", "5")["id"] is None


@pytest.mark.parametrize("action", WITH_SELECTORS)
def test_filters_and_ids_can_be_mixed(action: str) -> None:
    found = parsed(action, "state=failed", "1-3", "label~x")
    assert (found["filters"], found["ranges"], found["id"]) == (2, [(1, 3)], None)
    assert parsed(action, "slots=2", "4")["id"] is None


def test_options_may_stand_between_selectors() -> None:
    assert parsed("-l", "5", "-M", "json", "state=done") == parsed("-M", "json", "state=done")
    assert parsed("-w", "5", "-B", "7")["ranges"] == [(5, 5), (7, 7)]


def test_a_later_action_begins_anew() -> None:
    assert (parsed("-w", "label=a", "3", "-r", "4")["filters"], parsed("-w", "3", "-r", "4")["ranges"]) == (0, [(4, 4)])


def test_a_command_is_no_selector() -> None:
    assert parsed("state=failed")["action"] == ACTIONS["submit"]
    assert parsed("env", "A=1")["action"] == ACTIONS["submit"]


@pytest.mark.parametrize(
    "word",
    [
        *("id=3", "id>=3", "state=queued,running", "state!=done", "end=lost", "label=a*", "label~", "label="),
        *("command~python", "cwd=/tmp", "output~x", "slots>1", "gpus<=4", "exit!=0", "signal=9", "peak>20G"),
        *("submitted>yesterday", "started<-2h", "ended=2026-11-30", "since=14:00", "until=2026-11-30T14:00"),
        *("wait>1h30m", "time>=90s", "time<1-12:00:00"),
    ],
)
def test_filter(word: str) -> None:
    assert parsed("-l", word)["filters"] == 1


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("colour=red", f"-l: 'colour' is not a field: {' '.join(name for name, _ in fields())}"),
        ("slots=x", "-l: 'x' is not a whole number"),
        ("slots=-1", "-l: '-1' is not a whole number"),
        ("peak>20", "-l: '20' is not a size of memory (such as 20G or 512M)"),
        ("time>90", "-l: '90' is not a duration (such as 90s, 1h30m or 1-12:00:00)"),
        ("time>1:30", "-l: '1:30' is not a duration (such as 90s, 1h30m or 1-12:00:00)"),
        ("since=noon", "-l: 'noon' is not a time (such as now, today, -2h, 14:00, 2026-11-30 or 2026-11-30T14:00)"),
        ("label>a", "-l: 'label>a' cannot be compared so (texts: = != ~, states: = !=, since and until: =)"),
        ("since>now", "-l: 'since>now' cannot be compared so (texts: = != ~, states: = !=, since and until: =)"),
        ("state~a", "-l: 'state~a' cannot be compared so (texts: = != ~, states: = !=, since and until: =)"),
    ],
)
def test_wrong_filter(word: str, expected: str) -> None:
    assert error("-l", word) == expected


@pytest.mark.parametrize("word", ["state=odd", "state=", "state=done,", "end=queued", "end=finished"])
def test_wrong_state(word: str) -> None:
    assert "is not a state (queued running finished done" in error("-l", word)


def test_what_is_neither_id_nor_filter() -> None:
    assert "'foo'" in error("-l", "foo")
    assert "'='" in error("-w", "1", "=")
    assert error("-w", *["id>1"] * 65) == "-w has more than 64 filters"


@pytest.mark.parametrize(("prefix", "option"), PREFIXES.items())
def test_prefix_keeps_its_meaning(prefix: str, option: str) -> None:
    (row,) = [row for row in options() if row["name"] == option]
    value = ["1"] if row["operand"] and not row["optional"] else []
    whole, short = ([f"--{name}", *(["A=1"] if option == "setenv" else value)] for name in (option, prefix))
    assert parsed(*short) == parsed(*whole)


def test_dash_and_underscore_are_the_same_in_long_names() -> None:
    assert parsed("--set-logdir", "/tmp") == parsed("--set_logdir", "/tmp")
    assert parsed("--wait_all") == parsed("--wait-all")
    assert parsed("--set-gpu_free", "5") == parsed("--set_gpu_free_perc", "5")
    assert error("--set-log") == "--set_logdir needs an argument: PATH"
