"""The caller's side of batches: what a line and what a description of a job become."""

import shlex
from ctypes import sizeof
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.layouts import TSF_BATCH_NO_BLOCK, tsf_batch, tsf_batch_job, tsf_batch_part
from support.wire import HEAD
from tsfast.client.encoder import EncodeError, Encoder
from tsfast.client.encoder import caller as encoded_caller
from tsfast.client.job import _PUT, Job, Options, encoded, from_json

CALLER = encoded_caller(b"/", [b"A=1"], 0o22, 0, [(1, 2)] * 16, b"\1" * 8)
TOKEN = bytes(range(16))


def decoded(encoder: Encoder, number: int = 0) -> list[tuple[list[bytes], bytes, list[bytes]]]:
    """Words, directory, changes of the environment of each job of a frame."""
    frame = encoder.frame(number, CALLER, TOKEN, [], False, b"tsfast 1.2.3")
    assert len(frame) % 8 == 0
    assert frame[HEAD : HEAD + len(TOKEN)] == TOKEN
    batch = tsf_batch.from_buffer_copy(frame, HEAD + len(CALLER))
    assert (batch.place, batch.count) == encoder.places(number)
    assert batch.parts == 0
    at = HEAD + len(CALLER) + sizeof(tsf_batch)
    found = []
    for _ in range(batch.count):
        job = tsf_batch_job.from_buffer_copy(frame, at)
        at += sizeof(tsf_batch_job)
        words, cwd, env = (frame[at : (at := at + size)] for size in (job.argv_len, job.cwd_len, job.env_len))
        found.append((words.split(b"\0")[:-1], cwd.rstrip(b"\0"), env.split(b"\0")[:-1]))
        assert (len(found[-1][0]), len(found[-1][2])) == (job.argc, job.env_count)
    assert not frame[at:].strip(b"\0")
    assert len(frame) - at < 8
    return found


def lines(text: bytes) -> list[list[bytes]]:
    encoder = Encoder()
    encoder.lines(text, from_json)
    return [words for words, _, _ in decoded(encoder)] if len(encoder) else []


def refusal(text: bytes) -> EncodeError:
    with pytest.raises(EncodeError) as caught:
        Encoder().lines(text, from_json)
    return caught.value


# ---- lines


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"echo hello", [b"echo", b"hello"]),
        (b"  echo\t a  ", [b"echo", b"a"]),
        (b"echo 'a  b' \"c'd\"", [b"echo", b"a  b", b"c'd"]),
        (b"echo a'b'\"c\"d", [b"echo", b"abcd"]),
        (b"echo '' \"\"", [b"echo", b"", b""]),
        (rb"echo a\ b \'x \" \\", [b"echo", b"a b", b"'x", b'"', b"\\"]),
        (rb'echo "a\"b" "\\" "\x" "\$HOME"', [b"echo", b'a"b', b"\\", b"\\x", b"$HOME"]),
        (rb"echo '\' '$HOME `x` | &'", [b"echo", b"\\", b"$HOME `x` | &"]),
        (b"echo a\\  ", [b"echo", b"a "]),
        (b"echo a#b", [b"echo", b"a#b"]),
        (b"-L x -N 2 echo", [b"-L", b"x", b"-N", b"2", b"echo"]),
        (b"echo \xff\xc3\xa4\r", [b"echo", b"\xff\xc3\xa4"]),
        (b"echo a\r\r", [b"echo", b"a"]),
        (b"echo a \r", [b"echo", b"a"]),
        (b"echo 'a\rb'", [b"echo", b"a\rb"]),
        (b"\xef\xbb\xbfecho a", [b"echo", b"a"]),
        (b"\xef\xbb\xbf  echo a", [b"echo", b"a"]),
        (b"echo \xef\xbb\xbfa", [b"echo", b"\xef\xbb\xbfa"]),
    ],
)
def test_words_of_a_line(line: bytes, words: list[bytes]) -> None:
    assert lines(line) == [words]
    assert lines(b"\n# comment\n" + line + b"\n\n") == [words]


SHELL_WORDS = st.text(st.sampled_from("ab '\"\\ \t#=/"), max_size=20)


@given(SHELL_WORDS)
def test_words_are_those_of_shlex(line: str) -> None:
    """Python's shlex in its POSIX form is the oracle; it knows no end of line and no empty command."""
    stripped = line.strip(" \t")
    try:
        expected = shlex.split(line)
    except ValueError:
        expected = None
    if not stripped or stripped.startswith("#"):
        assert lines(line.encode()) == []
    elif expected is None:
        refusal(line.encode())
    else:
        assert lines(line.encode()) == [[word.encode() for word in expected]]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\n")), min_size=1))
def test_what_shlex_quotes_comes_back(words: list[str]) -> None:
    line = b"x " + shlex.join(words).encode()
    assert lines(line) == [[b"x", *(word.encode() for word in words)]]


@pytest.mark.parametrize(
    ("line", "part"),
    [
        (b"echo 'x", "quote is not closed"),
        (b'echo "x', "quote is not closed"),
        (b"echo x\\", "ends with a backslash"),
        (b"echo $HOME", "no shell expands it"),
        (b'echo "`date`"', "no shell expands it"),
        (b"a | b", "no shell reads it"),
        (b"a > b", "no shell reads it"),
        (b"a;b", "no shell reads it"),
        (b"a &", "no shell reads it"),
        (b"a \0 b", "NUL"),
        (b"a\rb", "carriage return"),
        (b"a\\\r", "ends with a backslash"),
        (b"-N x a", "-N"),
        (b"-L x", "commands to queue"),
        (b"-l", "commands to queue"),
        (b"-f a", "without -f"),
        (b"-B a", "without -f and -B"),
        (b"-D @1 a", "earlier job"),
        (b"-D @x a", "not a job id"),
        (b"{", "not JSON"),
        (b"{}", "'argv' must be a list"),
        (b'{"argv": []}', "commands to queue"),
        (b'{"argv": ["a"], "lable": "x"}', "'lable' is not a field"),
        (b'{"argv": ["a"], "slots": "2"}', "slots is str"),
        (b'{"argv": ["a\\u0000"]}', "NUL"),
        (b'{"argv": ["a"], "slots": -1}', "-N"),
        (b"{" + b'"a":[' * 100000, "not JSON"),
    ],
)
def test_a_wrong_line_is_named(line: bytes, part: str) -> None:
    error = refusal(b"true\n\n" + line + b"\nfalse\n")
    assert error.place == 3
    assert part in error.reason


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_files_as_editors_write_them(mark: bytes, end: bytes) -> None:
    """The last line ends as all do, or not at all."""
    between = end or b"\n"
    text = [b"# a comment", b"a b", b"", b'{"argv": ["c"]}', b"  d"]
    assert lines(mark + between.join(text) + end) == [[b"a", b"b"], [b"--", b"c"], [b"d"]]
    assert lines(mark + b'{"argv": ["c"]}' + end) == [[b"--", b"c"]]
    assert lines(mark + b"# a comment" + end) == lines(mark + end) == []


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-be"])
def test_a_file_in_utf_16_is_told(codec: str) -> None:
    error = refusal("\ufeffecho a\r\n".encode(codec) if codec == "utf-16-be" else "echo a\r\n".encode(codec))
    assert (error.place, error.reason) == (1, "this is UTF-16: save the file as UTF-8")


def test_a_wrong_first_line_is_named() -> None:
    assert refusal(b"-D @0 a").place == 1


def test_options_before_those_of_each_line() -> None:
    encoder = Encoder()
    encoder.lines(b'a\n-N 2 b\n{"argv":["c"]}', from_json, [b"-L", b"x y"])
    assert [words for words, _, _ in decoded(encoder)] == [
        [b"-L", b"x y", b"a"],
        [b"-L", b"x y", b"-N", b"2", b"b"],
        [b"-L", b"x y", b"--", b"c"],
    ]


# ---- descriptions


def one(job: Any) -> tuple[list[bytes], bytes, list[bytes]]:
    encoder = Encoder()
    encoder.extend([["first"], job], encoded)
    return decoded(encoder)[1]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, []),
        ({"label": "a b", "slots": 3}, ["-L", "a b", "-N", "3"]),
        ({"gpus": 2}, ["-G", "2"]),
        ({"gpus": 0.5, "vram": 3 << 30}, ["-G", "0.5", "--vram", "3145728K"]),
        ({"vram": "20G"}, ["--vram", "20G"]),
        ({"vram": 1}, ["--vram", "1K"]),
        ({"gpu_ids": [0, "GPU-1"]}, ["-g", "0,GPU-1"]),
        ({"after": 3}, ["-D", "3"]),
        ({"after": ["@0", 4], "after_ok": [5]}, ["-D", "@0,4", "-W", "5"]),
        ({"after": []}, []),
        ({"after_last": True, "gzip": True}, ["-d", "-z"]),
        ({"mail": True}, ["-m"]),
        ({"store_output": False, "split_stderr": False}, ["-n"]),
        ({"output": Path("/x"), "append": True}, ["--log", "/x", "--append"]),
        ({"name": "n", "label": None}, ["-O", "n"]),
        ({"slots": numpy.int64(2), "gpus": numpy.float32(0.5)}, ["-N", "2", "-G", "0.5"]),
        ({"gpu_ids": numpy.array([1, 2]), "after": {4}}, ["-g", "1,2", "-D", "4"]),
    ],
)
def test_fields_are_options(fields: dict[str, Any], words: list[str]) -> None:
    expected = [*(word.encode() for word in words), b"--", b"cmd", b"-x"]
    assert one({"argv": ["cmd", "-x"], **fields}) == (expected, b"", [])
    assert one(Job(["cmd", "-x"], **fields)) == (expected, b"", [])


def test_every_field_of_the_type_is_one_of_a_job() -> None:
    assert set(Options.__annotations__) == {*_PUT, "cwd", "env"}


def test_directory_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words, cwd, env = one({"argv": ["a"], "cwd": "sub", "env": {"A": "1=2", "B": None, "C": ""}})
    assert words == [b"--", b"a"]
    assert cwd == str(tmp_path / "sub").encode()
    assert env == [b"A=1=2", b"B", b"C="]


def test_words_of_all_kinds() -> None:
    assert one(["a", b"\xff", Path("/p"), "\udcff", "ä"])[0] == [b"a", b"\xff", b"/p", b"\xff", "ä".encode()]
    assert one(("-x", "y"))[0] == [b"--", b"-x", b"y"]
    assert one({"argv": ("-x",)})[0] == [b"--", b"-x"]
    assert one([Path("-n"), "true"])[0] == [b"--", b"-n", b"true"]


def test_arrays_of_ids() -> None:
    assert one({"argv": ["a"], "after": numpy.array([1, 2], numpy.uint64)})[0][:2] == [b"-D", b"1,2"]
    assert one({"argv": ["a"], "after": numpy.uint64(7)})[0][:2] == [b"-D", b"7"]


@pytest.mark.parametrize(
    ("job", "kind", "part"),
    [
        ("true", TypeError, "list of words"),
        (b"true", TypeError, "list of words"),
        (3, TypeError, "int"),
        (["a", 3], TypeError, "a word of the command is int"),
        ([], ValueError, "no command"),
        (["a\0b"], ValueError, "NUL"),
        ({"label": "x"}, ValueError, "argv"),
        ({"argv": "true"}, TypeError, "list of words"),
        ({"argv": ["a"], "slots": 1.5}, TypeError, "slots is float"),
        ({"argv": ["a"], "slots": True}, TypeError, "slots is bool"),
        ({"argv": ["a"], "gzip": 1}, TypeError, "gzip is int"),
        ({"argv": ["a"], "label": 5}, TypeError, "label is int"),
        ({"argv": ["a"], "after": 1.5}, TypeError, "after is float"),
        ({"argv": ["a"], "after": [None]}, TypeError, "after is NoneType"),
        ({"argv": ["a"], "after": -1}, ValueError, "-D"),
        ({"argv": ["a"], "after": ["@1"]}, ValueError, "earlier job"),
        ({"argv": ["a"], "gpus": "many"}, ValueError, "-G"),
        ({"argv": ["a"], "gpu_ids": "0"}, TypeError, "gpu_ids is str"),
        ({"argv": ["a"], "env": ["A=1"]}, TypeError, "env is list"),
        ({"argv": ["a"], "env": {"A": 1}}, TypeError, "names and values"),
        ({"argv": ["a"], "env": {"A=B": "1"}}, ValueError, "the name of a variable"),
        ({"argv": ["a"], "env": {"A": "\0"}}, ValueError, "NUL"),
        ({"argv": ["a"], "cwd": 3}, TypeError, "cwd is int"),
        ({"argv": ["a"], "output": 3}, TypeError, "output is int"),
        ({"argv": ["a"], "colour": "red"}, ValueError, "'colour' is not a field"),
        (["x" * (5 << 20)], ValueError, "too long"),
    ],
)
def test_what_is_no_job(job: Any, kind: type[Exception], part: str) -> None:
    encoder = Encoder()
    with pytest.raises(EncodeError) as caught:
        encoder.extend([["first"], job], encoded)
    assert caught.value.place == 1
    assert part in caught.value.reason
    assert isinstance(caught.value.__cause__, kind)
    assert [words for words, _, _ in decoded(encoder)] == [[b"first"]]  # the others are still whole


# ---- frames


def test_frames_are_bounded_and_in_order() -> None:
    encoder = Encoder()
    encoder.extend((["a", str(i)] for i in range(10000)), encoded)
    assert [encoder.places(i) for i in range(encoder.frames)] == [(0, 4096), (4096, 4096), (8192, 1808)]
    words = [words[1] for i in range(encoder.frames) for words, _, _ in decoded(encoder, i)]
    assert words == [str(i).encode() for i in range(10000)]
    encoder = Encoder()
    encoder.extend([["x" * (1 << 20)] for _ in range(5)], encoded)
    assert encoder.frames == 5


def test_frames_that_wait_for_earlier_ones() -> None:
    encoder = Encoder()
    encoder.extend(({"argv": ["a"], "after": [f"@{i - 1}"]} if i else ["a"] for i in range(5000)), encoded)
    assert [encoder.looks_back(i) for i in range(encoder.frames)] == [False, True]
    assert encoder.refers_to is None
    frame = encoder.frame(1, CALLER, TOKEN, [(0, 77)], True, b"tsfast 1.2.3")
    batch = tsf_batch.from_buffer_copy(frame, HEAD + len(CALLER))
    assert (batch.place, batch.count, batch.parts, batch.flags) == (4096, 904, 1, TSF_BATCH_NO_BLOCK)
    part = tsf_batch_part.from_buffer_copy(frame, HEAD + len(CALLER) + sizeof(tsf_batch))
    assert (part.place, part.first) == (0, 77)


def test_the_greatest_id_is_known() -> None:
    encoder = Encoder()
    encoder.extend([["a"], {"argv": ["a"], "after": [9, 4]}, {"argv": ["a"], "after": 5}], encoded)
    assert encoder.refers_to == (9, 1)
    encoder.extend([{"argv": ["a"], "after": 2**63 - 1}], encoded)
    assert encoder.refers_to == (2**63 - 1, 3)


def test_an_empty_batch() -> None:
    assert Encoder().frames == 0
    assert len(Encoder()) == 0
    with pytest.raises(IndexError):
        Encoder().places(0)
    with pytest.raises(IndexError):
        Encoder().frame(0, CALLER, TOKEN, [], False, b"1")


def test_an_environment_that_is_too_long() -> None:
    encoder = Encoder()
    encoder.extend([["a"]], encoded)
    caller = encoded_caller(b"/", [b"A=" + b"x" * (9 << 20)], 0, 0, [(1, 2)] * 16, b"")
    with pytest.raises(ValueError, match="too long"):
        encoder.frame(0, caller, TOKEN, [], False, b"1")
