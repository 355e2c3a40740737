"""The option grammar: every row of the table, getopt's rules, values, and each error."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tsfast.grammar import options
from tsfast.grammar.options import ACTIONS, FORMATS, GrammarError, parse_words

NO_OUTPUT, FOREGROUND, VOLATILE, SPLIT_STDERR, MAIL = 1, 2, 4, 8, 128

NOTHING_SET = {
    "action": ACTIONS["list"],
    "format": FORMATS["default"],
    "id": None,
    "id2": None,
    "number": None,
    "text": None,
    "flags": 0,
    "no_block": False,
    "after_last": False,
    "slots": 1,
    "gpus": 0,
    "gpu_share": 0,
    "vram": 0,
    "gpu_exact": None,
    "label": None,
    "name": None,
    "env_text": None,
    "log": None,
    "array": None,
    "after": [],
    "after_ok": [],
    "words": 0,
    "ranges": [],
    "filters": 0,
}

WITH_OPTIONAL_ID = {
    "t": "tail",
    "c": "cat",
    "p": "pid",
    "o": "output",
    "a": "label",
    "F": "full_command",
}
WITH_OPTIONAL_IDS = {
    "i": "info",
    "s": "state",
    "r": "remove",
    "w": "wait",
    "k": "kill",
    "u": "urgent",
}
WITHOUT_ARGUMENT = {
    "l": "list",
    "T": "kill_all",
    "C": "clear",
    "K": "kill_server",
    "R": "count_running",
    "q": "last_id",
    "h": "help",
    "V": "version",
}
LONG = {
    "help": "help",
    "version": "version",
    "serialize": "list",
    "count_running": "count_running",
    "last_queue_id": "last_id",
    "get_label": "label",
    "full_cmd": "full_command",
    "get_logdir": "get_logdir",
    "set_logdir": "set_logdir",
    "getenv": "getenv",
    "setenv": "setenv",
    "unsetenv": "unsetenv",
    "wait-all": "wait_all",
    "why": "why",
    "get_gpu_free_perc": "get_gpu_free_perc",
    "set_gpu_free_perc": "set_gpu_free_perc",
    "get_gpu_wait": "get_gpu_wait",
    "set_gpu_wait": "set_gpu_wait",
}
LONG_OF_SUBMISSIONS = {"batch", "array", "log", "append", "truncate", "gpus", "gpu_indices", "vram"}
LONG_WITH_IDS = {"cancel"}
FLAGS = {
    "n": {"flags": NO_OUTPUT},
    "f": {"flags": FOREGROUND},
    "E": {"flags": SPLIT_STDERR},
    "m": {"flags": MAIL},
    "B": {"no_block": True},
    "d": {"after_last": True},
}


def parsed(*words):
    return parse_words([word if isinstance(word, bytes) else word.encode() for word in words])


def expect(line, /, **fields):
    assert parsed(*line) == {**NOTHING_SET, **fields}


def error(*words):
    with pytest.raises(GrammarError) as caught:
        parsed(*words)
    message = str(caught.value)
    assert message.isprintable() and not message.startswith("ts:")
    assert len(message.encode()) < 256
    return message


def test_nothing_is_the_list():
    expect([])
    expect(["--"])


def test_the_table_is_complete():
    rows = options.options()
    assert {row["letter"] for row in rows} - {""} == {
        *WITH_OPTIONAL_ID,
        *WITH_OPTIONAL_IDS,
        *WITHOUT_ARGUMENT,
        *"MSUnfEBdDWLNOzmgG",
    }
    assert {row["name"] for row in rows} - {""} == {*LONG, *LONG_OF_SUBMISSIONS, *LONG_WITH_IDS}
    letters = [row["letter"] for row in rows if row["letter"]]
    names = [row["name"] for row in rows if row["name"]]
    assert len(set(letters)) == len(letters)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("letter", "action"), WITHOUT_ARGUMENT.items())
def test_actions_without_argument(letter, action):
    expect([f"-{letter}"], action=ACTIONS[action])


@pytest.mark.parametrize(("letter", "action"), WITH_OPTIONAL_ID.items())
def test_actions_with_an_optional_id(letter, action):
    expect([f"-{letter}"], action=ACTIONS[action])
    expect([f"-{letter}", "5"], action=ACTIONS[action], id=5)
    expect([f"-{letter}0"], action=ACTIONS[action], id=0)
    expect([f"-{letter}", str(2**63 - 1)], action=ACTIONS[action], id=2**63 - 1)
    for wrong in ("", "x", "-1", "+1", "1 ", "1x", "0x1", str(2**63), "9" * 40, "--", "-l"):
        assert error(f"-{letter}", wrong) == f"-{letter}: '{wrong}' is not a job id (a whole number, 0 or more)"


@pytest.mark.parametrize(("letter", "action"), WITH_OPTIONAL_IDS.items())
def test_actions_with_optional_ids(letter, action):
    expect([f"-{letter}"], action=ACTIONS[action])
    expect([f"-{letter}", "5"], action=ACTIONS[action], id=5, ranges=[(5, 5)])
    expect([f"-{letter}", "5-5"], action=ACTIONS[action], id=5, ranges=[(5, 5)])
    expect([f"-{letter}3,7-12"], action=ACTIONS[action], ranges=[(3, 3), (7, 12)])
    expect([f"-{letter}", "9,0-3,9"], action=ACTIONS[action], ranges=[(9, 9), (0, 3), (9, 9)])
    expect([f"-{letter}", f"0-{2**63 - 1}"], action=ACTIONS[action], ranges=[(0, 2**63 - 1)])
    for wrong in ("", "x", "-1", "+1", "1 ", str(2**63), "3,,4", "3,", ",3", "3,x"):
        assert "is not a job id (expected whole numbers, such as 3 or 3,7-12)" in error(f"-{letter}", wrong)
    for wrong in ("5-3", "3-", "3-x", "1-2-3"):
        assert error(f"-{letter}", wrong) == f"-{letter}: '{wrong}' is not a range of job ids (such as 7-12)"
    # the last one given counts
    expect([f"-{letter}", "1,2", f"-{letter}", "3"], action=ACTIONS[action], id=3, ranges=[(3, 3)])


def test_batch():
    expect(["--batch", "jobs"], action=ACTIONS["batch"], text=b"jobs")
    expect(["-B", "--batch=-"], action=ACTIONS["batch"], text=b"-", no_block=True)


def test_places_in_a_batch():
    places = {"after": [3, 1 << 63 | 4], "after_ok": [1 << 63]}
    expect(["-D", "3,@4", "-W", "@0", "a"], **places, words=4, action=ACTIONS["submit"])
    for wrong in ("@", "@-1", "4@", "@@4", "@9223372036854775808"):
        with pytest.raises(GrammarError, match="not a job id"):
            parsed("-D", wrong, "a")


@pytest.mark.parametrize(("name", "action"), LONG.items())
def test_long_names(name, action):
    if name == "set_logdir":
        expect([f"--{name}", "/x"], action=ACTIONS[action], text=b"/x")
        expect([f"--{name}=/x=y"], action=ACTIONS[action], text=b"/x=y")
    elif name.endswith("env"):
        value = "A=b" if name == "setenv" else "A"
        expect([f"--{name}", value], action=ACTIONS[action], text=value.encode())
        return
    elif name.startswith("set_gpu"):
        expect([f"--{name}", "7"], action=ACTIONS[action], number=7)
        return
    else:
        expect([f"--{name}"], action=ACTIONS[action])
    if name in ("get_label", "full_cmd"):
        expect([f"--{name}", "7"], action=ACTIONS[action], id=7)
        expect([f"--{name}=7"], action=ACTIONS[action], id=7)
        assert "''" in error(f"--{name}=")
    elif name == "why":
        expect(["--why", "7"], action=ACTIONS[action], id=7, ranges=[(7, 7)])
    elif name not in ("set_logdir", "serialize"):
        assert "takes no argument" in error(f"--{name}=7")


def test_prefixes_of_long_names():
    expect(["--ver"], action=ACTIONS["version"])
    expect(["--ser=json"], format=FORMATS["json"])
    expect(["--get_la", "1"], action=ACTIONS["label"], id=1)
    assert error("--get_l") == "--get_l is ambiguous: --get_label --get_logdir"
    assert "--get_gpu_free_perc --get_gpu_wait" in error("--get")
    assert error("--helpx") == "unknown option '--helpx' (-h lists all)"
    assert error("--=x") == "unknown option '--' (-h lists all)"


WHOLE = 1000


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (["-G", "2", "ls"], {"gpus": 2, "gpu_share": WHOLE}),
        (["--gpus=1024", "ls"], {"gpus": 1024, "gpu_share": WHOLE}),
        (["-G0", "ls"], {}),
        (["-G", "0.5", "ls"], {"gpus": 1, "gpu_share": 500}),
        (["-G.25", "ls"], {"gpus": 1, "gpu_share": 250}),
        (["-G", "0.001", "ls"], {"gpus": 1, "gpu_share": 1}),
        (["-G", "1.0", "ls"], {"gpus": 1, "gpu_share": WHOLE}),
        (["-G", "2.000000", "ls"], {"gpus": 2, "gpu_share": WHOLE}),
        (["-G", "1024.0", "ls"], {"gpus": 1024, "gpu_share": WHOLE}),
        (["-G", "0.0", "ls"], {}),
        (["-G", "00.5000", "ls"], {"gpus": 1, "gpu_share": 500}),
        (["--vram", "20G", "ls"], {"gpus": 1, "vram": 20 << 30}),
        (["--vram", "512MiB", "-G", "2", "ls"], {"gpus": 2, "vram": 512 << 20}),
        *(
            (["--vram", size, "ls"], {"gpus": 1, "vram": 20 << 30})
            for size in ("20GB", "20gb", "20g", "20gib", "20Gi", "20.0G", "20480M", "20480.000MB")
        ),
        (["--vram", "0.5G", "ls"], {"gpus": 1, "vram": 512 << 20}),
        (["--vram", ".5T", "ls"], {"gpus": 1, "vram": 512 << 30}),
        (["--vram", "1.25kb", "ls"], {"gpus": 1, "vram": 2 << 10}),
        (["--vram", "0.1G", "ls"], {"gpus": 1, "vram": 104858 << 10}),
        (["--vram", "0.000001K", "ls"], {"gpus": 1, "vram": 1 << 10}),
        (["--vram", "1023.999999T", "ls"], {"gpus": 1, "vram": 1099511626703 << 10}),
        (["-G", "0.5", "--vram", "1t", "ls"], {"gpus": 1, "gpu_share": 500, "vram": 1 << 40}),
        (["-g", "0", "ls"], {"gpus": 1, "gpu_share": WHOLE, "gpu_exact": b"0"}),
        (["--gpu_indices=3,1", "ls"], {"gpus": 2, "gpu_share": WHOLE, "gpu_exact": b"3,1"}),
        (["-g", "GPU-0a,7,MIG-x", "ls"], {"gpus": 3, "gpu_share": WHOLE, "gpu_exact": b"GPU-0a,7,MIG-x"}),
    ],
)
def test_gpus_of_a_job(words, fields):
    expect(words, action=ACTIONS["submit"], words=len(words) - 1, **fields)


def test_gpu_actions():
    expect(["-g"], action=ACTIONS["gpus"])
    expect(["--get_gpu_free_perc"], action=ACTIONS["get_gpu_free_perc"])
    expect(["--set_gpu_free_perc", "100"], action=ACTIONS["set_gpu_free_perc"], number=100)
    expect(["--get_gpu_wait"], action=ACTIONS["get_gpu_wait"])
    expect(["--set_gpu_wait=0"], action=ACTIONS["set_gpu_wait"], number=0)


@pytest.mark.parametrize(
    "words",
    [
        *(
            ["-G", value, "ls"]
            for value in ("-1", "1025", "1025.0", "1.5", "0.", "1.", ".", "0.1234", "x", "", "1,2", "0.5x", "+1", "1e0")
        ),
        *(["-G", value, "ls"] for value in ("0..5", "0.5.0", "1 ", "0,5", "50%", "9" * 30 + ".0", "inf", "nan")),
        *(
            ["--vram", value, "ls"]
            for value in (
                "20",
                "0G",
                "0.0G",
                "G",
                ".G",
                "20P",
                "20B",
                "20GBs",
                "20GiBB",
                "20Gbi",
                "-1G",
                "",
                "20G ",
                "20 G",
            )
        ),
        *(
            ["--vram", value, "ls"]
            for value in ("1.G", "1..5G", "1,5G", "1e3G", "0.1234567G", "1024T", "1023.9999999T", "9" * 30 + "G")
        ),
        *(
            ["-g", value, "ls"]
            for value in ("", "0,", ",0", "1024", "x", "-1", "0 1", "GPU-" + "x" * 60, "0," * 1025 + "0")
        ),
        *(["--set_gpu_free_perc", value] for value in ("0", "101", "x", "")),
        *(["--set_gpu_wait", value] for value in ("-1", "x", "", "1000001")),
        ["-G"],
        ["--gpus"],
    ],
)
def test_wrong_gpus(words):
    assert error(*words).startswith("-")


def test_gpu_options_that_disagree():
    assert "exclude" in error("-g", "0", "-G", "1", "ls")
    assert "exclude" in error("-g", "0", "--vram", "1G", "ls")
    assert "-G 0" in error("-G", "0", "--vram", "1G", "ls")


def test_variables():
    expect(["--getenv", "A"], action=ACTIONS["getenv"], text=b"A")
    expect(["--setenv=A=b=c"], action=ACTIONS["setenv"], text=b"A=b=c")
    expect(["--unsetenv", "A"], action=ACTIONS["unsetenv"], text=b"A")
    for words in (["--getenv", ""], ["--getenv", "A="], ["--unsetenv", "A=b"], ["--setenv", "A"], ["--setenv", "=b"]):
        assert words[0] in error(*words)


def test_mail_needs_an_output():
    assert "-m" in error("-m", "-n", "ls") and "-m" in error("-nfm", "ls")


def test_hidden_option():
    """What the command of TS_ENV printed; for tsfast itself, so in no help and under its whole name only."""
    expect(["--text_of_ts_env", "x", "ls"], action=ACTIONS["submit"], env_text=b"x", words=2)
    assert error("--text", "x") == "unknown option '--text' (-h lists all)"
    assert "too long" in error("--text_of_ts_env", "x" * 65537, "ls")


def test_a_command_is_submitted():
    expect(["ls", "-l"], action=ACTIONS["submit"])
    expect(["--", "-l"], action=ACTIONS["submit"], words=1)
    expect(["-n", "--", "ls"], action=ACTIONS["submit"], flags=NO_OUTPUT, words=2)
    expect(["-"], action=ACTIONS["submit"])
    expect([""], action=ACTIONS["submit"])


@pytest.mark.parametrize(("letter", "fields"), FLAGS.items())
def test_flags_of_a_submission(letter, fields):
    expect([f"-{letter}", "ls"], action=ACTIONS["submit"], words=1, **fields)


def test_clusters():
    volatile = NO_OUTPUT | FOREGROUND | VOLATILE
    for words in (["-nf"], ["-fn"], ["-n", "-f"]):
        expect([*words, "ls"], action=ACTIONS["submit"], flags=volatile, words=len(words))
    expect(["-EN2", "ls"], action=ACTIONS["submit"], flags=SPLIT_STDERR, slots=2, words=1)
    expect(["-EN", "2", "ls"], action=ACTIONS["submit"], flags=SPLIT_STDERR, slots=2, words=2)
    expect(["-Llabel", "ls"], action=ACTIONS["submit"], label=b"label", words=1)
    expect(["-L", "-n", "ls"], action=ACTIONS["submit"], label=b"-n", words=2)
    expect(
        ["-dBnOname", "ls"],
        action=ACTIONS["submit"],
        flags=NO_OUTPUT,
        no_block=True,
        after_last=True,
        name=b"name",
        words=1,
    )
    assert error("-nQf", "ls") == "unknown option '-Q' (-h lists all)"
    assert error("-é", "ls") == "unknown option '-é' (-h lists all)"
    assert error("-q1") == "unknown option '-1' (-h lists all)"


def test_the_last_action_wins():
    expect(["-s", "1", "-q"], action=ACTIONS["last_id"])
    expect(["-S", "3", "-k", "4"], action=ACTIONS["kill"], id=4, ranges=[(4, 4)])
    expect(["-U", "1-2", "-l"])
    expect(["--set_logdir", "/", "-T"], action=ACTIONS["kill_all"])
    expect(["-M", "json", "-l"], format=FORMATS["json"])
    expect(["-M", "json", "-M"])


def test_words_after_an_action():
    assert error("-T", "foo") == "unexpected 'foo': -T takes no argument"
    assert error("-p", "1", "2") == "unexpected '2': -p takes one argument"
    assert error("--get_logdir", "x") == "unexpected 'x': --get_logdir takes no argument"
    assert error("-S", "2", "--", "ls") == "unexpected 'ls': -S takes one argument"
    expect(["-h", "foo"], action=ACTIONS["help"])
    expect(["-V", "foo"], action=ACTIONS["version"])


def test_options_of_a_submission_without_command():
    expect(["-n"], flags=NO_OUTPUT)
    expect(["-L", "x", "-s", "1"], label=b"x", action=ACTIONS["state"], id=1, ranges=[(1, 1)])


@pytest.mark.parametrize("letter", "DWLNOU")
def test_missing_arguments(letter):
    assert error(f"-{letter}").startswith(f"-{letter} needs an argument: ")
    assert error("-n" + letter).startswith(f"-{letter} needs an argument: ")


def test_formats():
    expect(["-M"])
    for name, value in FORMATS.items():
        expect(["-M", name], format=value)
    for wrong in ("", "jso", "JSON", "jsonx"):
        assert error("-M", wrong) == f"-M: '{wrong}' is not a format (default, json or tab)"


def test_slots():
    expect(["-S"], action=ACTIONS["slots"])
    expect(["-S", "1"], action=ACTIONS["slots"], number=1)
    expect(["-S1000000"], action=ACTIONS["slots"], number=1000000)
    for wrong in ("0", "1000001", "x", "", "-1"):
        assert error("-S", wrong) == f"-S: '{wrong}' is not a number of slots (1 to 1000000)"
    for number in (0, 1000000):
        expect(["-N", str(number), "ls"], action=ACTIONS["submit"], slots=number, words=2)
    for wrong in ("1000001", "x", "", "-1", "1.5"):
        assert error("-N", wrong, "ls") == f"-N: '{wrong}' is not a number of slots (0 to 1000000)"


def test_pairs():
    expect(["-U", "3-5"], action=ACTIONS["swap"], id=3, id2=5)
    for wrong in ("", "3", "3-", "-5", "3-5-7", "a-b", "3 5", f"1-{2**63}"):
        assert error("-U", wrong) == f"-U: '{wrong}' is not a pair of job ids (such as 3-5)"
    assert error("-U", "3-03").startswith("-U: '3-03' names one job twice")


def test_lists_of_ids():
    expect(
        ["-D", "1,2,2", "-W3", "-D7", "-W", "0,1", "ls"],
        action=ACTIONS["submit"],
        after=[1, 2, 2, 7],
        after_ok=[3, 0, 1],
        words=6,
    )
    expect(["-D", "3-5,9,7-7", "-W", "@0-2,4", "ls"], action=ACTIONS["submit"], after=[3, 4, 5, 9, 7],
           after_ok=[1 << 63, 1 << 63 | 1, 1 << 63 | 2, 4], words=4)  # fmt: skip
    assert error("-D", "1-1000001", "ls") == "-D: '1-1000001' names too many jobs (at most 1000000)"
    for wrong, part in (
        ("5-3", "5-3"),
        ("1-", "1-"),
        ("-1", "-1"),
        ("", ""),
        (",", ""),
        ("1,", ""),
        (",1", ""),
        ("1,,2", ""),
        ("1,x,2", "x"),
        ("1 ,2", "1 "),
    ):
        for letter in "DW":
            assert error(f"-{letter}", wrong, "ls").startswith(f"-{letter}: '{part}' is not a job id (expected")
    assert error("-D", "1,2", "-W", "x", "ls").startswith("-W: 'x'")


def test_sixty_thousand_ids():
    ids = list(range(60_000))
    line = ",".join(map(str, ids)).encode()
    result = parsed("-D", line, "-W", line, "-D", line, "true")
    assert result["after"] == ids * 2
    assert result["after_ok"] == ids
    error("-D", line + b",x", "true")


def test_labels_and_names():
    expect(["-L", "", "ls"], action=ACTIONS["submit"], words=2)
    expect(["-L", "x", "-L", "", "ls"], action=ACTIONS["submit"], words=4)
    expect(["-L", b"\xff\n", "ls"], action=ACTIONS["submit"], label=b"\xff\n", words=2)
    assert parsed("-L", b"x" * 65536, "ls")["label"] == b"x" * 65536
    assert "too long" in error("-L", b"x" * 65537, "ls")
    assert parsed("-O", b"x" * 200, "ls")["name"] == b"x" * 200
    for wrong in (b"", b"a/b", b"/", b"x" * 201):
        assert "is not a file name" in error("-O", wrong, "ls")
    assert "is not a path" in error("--set_logdir", "")


def test_a_file_of_one_s_own():
    flags = options.FLAGS
    expect(["--log", "a/b", "ls"], action=ACTIONS["submit"], flags=flags["log"], log=b"a/b", words=2)
    for name in ("append", "truncate"):
        fields = {"flags": flags["log"] | flags[name], "log": b"x"}
        expect([f"--{name}", "--log=x", "ls"], action=ACTIONS["submit"], words=2, **fields)
        assert error(f"--{name}", "ls") == f"--{name} needs --log"
        expect([f"--{name}"], flags=flags[name])
    expect(["-z", "ls"], action=ACTIONS["submit"], flags=flags["gzip"], words=1)
    expect(["-nz", "ls"], action=ACTIONS["submit"], flags=NO_OUTPUT, words=1)
    for wrong in ("", "x/", "x" * 4096):
        assert "is not the path of a file" in error("--log", wrong, "ls")
    assert error("--log", "x", "-n", "ls") == "--log and -n exclude each other"
    assert error("--log", "x", "-O", "y", "ls") == "--log and -O exclude each other"
    assert "exclude each other" in error("--log", "x", "--append", "--truncate", "ls")


def test_errors_are_short_and_harmless():
    assert error("-p", "x" * 60) == f"-p: '{'x' * 60}' is not a job id (a whole number, 0 or more)"
    assert f"'{'x' * 57}...'" not in error("-k", "x" * 60)
    assert f"'{'x' * 60}...'" in error("-k", "x" * 61)
    assert r"'\n\x7f\x1b[31m\x9b'" in error("-k", b"\n\x7f\x1b[31m\x9b")
    assert "é'" in error("-k", "é")
    assert "…..." in error("-k", "…" * 40)
    error("--" + "x" * 5000)
    error("-l", "x" * 5000)


# ---- arrays ---------------------------------------------------------------------------------------------------------

ARRAY = options.FLAGS["array"]


@pytest.mark.parametrize(
    ("text", "array"),
    [
        ("1-1000%50", (1, 1000, 50)),
        ("0-0", (0, 1, 0)),
        ("7", (7, 1, 0)),
        ("5-65540%1", (5, 65536, 1)),
        ("1000000000-1000000000%1000000000", (1000000000, 1, 1000000000)),
    ],
)
def test_array(text, array):
    expect(["--array", text, "x", "{}"], action=ACTIONS["submit"], flags=ARRAY, array=array, words=2)


@pytest.mark.parametrize(
    "text", ["", "-", "1-", "-1", "2-1", "1-2-3", "a-b", "1 -2", "1-2%", "1-2%0", "1%2%3", "%3", "1-1000000001"]
)
def test_wrong_array(text):
    assert error(f"--array={text}", "x") == (
        f"--array: '{text}' is not a range of numbers (such as 1-1000, or 1-1000%50 for at most 50 at once)"
    )


def test_arrays_that_are_refused():
    assert error("--array", "0-65536", "x") == "--array: '0-65536' has more than 65536 numbers"
    assert error("--array", "1-2", "-f", "x") == "--array and -f exclude each other"
    assert error("--array", "1-2", "--log", "out", "x").startswith("--array and --log: each element needs its own file")
    for words in (["--log", "{id}"], ["--log", "a{index}b"], ["--append", "--log", "x"]):
        assert parsed("--array", "1-2", *words, "x")["array"] == (1, 2, 0)
    assert parsed("--array", "4-4", "--log", "out", "x")["array"] == (4, 1, 0)


def test_elements_of_an_array():
    expect(["-w", "5[7]"], action=ACTIONS["wait"], id=5, ranges=[(5, 5, 7, 7)])
    expect(["-w", "5[7-9]"], action=ACTIONS["wait"], ranges=[(5, 5, 7, 9)])
    expect(["-w", "5[7-7]"], action=ACTIONS["wait"], id=5, ranges=[(5, 5, 7, 7)])
    expect(["-k", "1,5[7],8-9"], action=ACTIONS["kill"], ranges=[(1, 1), (5, 5, 7, 7), (8, 9)])
    expect(["-c", "5[0]"], action=ACTIONS["cat"], id=5, ranges=[(5, 5, 0, 0)])
    expect(["-c", "5[0]", "-c", "6"], action=ACTIONS["cat"], id=6)


@pytest.mark.parametrize(
    "text", ["5[", "5]", "5[]", "[7]", "5[7", "5[7]8", "5[[7]]", "5[9-7]", "5[7-]", "5-6[7]", "5[x]"]
)
def test_wrong_elements(text):
    assert f"'{text}' is not " in error("-w", text)
    assert "is no" in error("-c", text)


def test_one_job_only():
    assert error("-c", "5[7-8]") == "-c: '5[7-8]' is not one job"
    assert error("-o", "5[7],6") == "-o: '5[7],6' is not one job"


def test_help():
    text = options.help_bytes().decode()
    lines = text.splitlines()
    assert text.isascii() and text.endswith("\n")
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 80
    for row in options.options():
        if row["name"].startswith("get_gpu"):
            assert f"--s{row['name'][1:]}" in text, "its twin is"
        elif row["help"] not in text:
            assert f"--{row['name']}" in text, "named in the line of another option"


def test_words_must_be_bytes():
    with pytest.raises(TypeError):
        parse_words(["ls"])
    with pytest.raises(TypeError):
        parse_words([b"a\0b"])


no_nul = st.binary(max_size=80).map(lambda data: data.replace(b"\0", b""))
mostly_options = st.one_of(
    no_nul,
    no_nul.map(lambda data: b"-" + data),
    no_nul.map(lambda data: b"--" + data),
    st.sampled_from([f"--{row['name']}".encode() for row in options.options() if row["name"]]),
    st.sampled_from([f"-{row['letter']}".encode() for row in options.options() if row["letter"]]),
    st.integers(0, 2**64).map(lambda number: str(number).encode()),
)


@given(st.lists(mostly_options, max_size=6))
@example([b"-\xc3"])
@example([b"--\x80"])
def test_any_words_are_parsed_or_refused(words):
    try:
        result = parse_words(words)
    except GrammarError as refused:
        message = str(refused)
        assert message and "\n" not in message and len(message) < 256
    else:
        assert 0 <= result["words"] <= len(words)


ids = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=20)
text = no_nul.filter(len)


@st.composite
def submissions(draw):
    """A command line in one of its spellings, and what it means."""
    fields = {"action": ACTIONS["submit"], "flags": 0}
    groups = []

    def option(letter, value):
        groups.append(draw(st.sampled_from([[b"-" + letter + value], [b"-" + letter, value]])))

    for letter in draw(st.sets(st.sampled_from("nfEBd"))):
        groups.append([b"-" + letter.encode()])
        fields["flags"] |= FLAGS[letter].get("flags", 0)
        fields.update({k: v for k, v in FLAGS[letter].items() if k != "flags"})
    if fields["flags"] & FOREGROUND and fields["flags"] & NO_OUTPUT:
        fields["flags"] |= VOLATILE
    if draw(st.booleans()):
        fields["label"] = draw(text)
        option(b"L", fields["label"])
    if draw(st.booleans()):
        fields["name"] = draw(text.map(lambda data: data.replace(b"/", b"")).filter(len))
        option(b"O", fields["name"])
    if draw(st.booleans()):
        fields["slots"] = draw(st.integers(0, 1000000))
        option(b"N", str(fields["slots"]).encode())
    for letter, field in ((b"D", "after"), (b"W", "after_ok")):
        if draw(st.booleans()):
            fields[field] = draw(ids)
            option(letter, ",".join(map(str, fields[field])).encode())
    words = [word for group in draw(st.permutations(groups)) for word in group]
    if draw(st.booleans()):
        words.append(b"--")
        command = draw(st.lists(no_nul, min_size=1))
    else:
        command = [draw(no_nul.filter(lambda data: not data.startswith(b"-"))), *draw(st.lists(no_nul))]
    fields["words"] = len(words)
    return words + command, fields


@given(submissions())
def test_a_written_command_line_means_what_was_written(submission):
    words, fields = submission
    assert parse_words(words) == {**NOTHING_SET, **fields}
