"""Lists, JSON, tab and -i: golden files for their formats; properties for whatever bytes a job brings.

TSFAST_UPDATE_GOLDEN=1 writes the golden files anew.
"""

import json
import os
import re
import subprocess
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tsfast.base.text import columns_of, json_string, quote
from tsfast.render.probe import render

GOLDEN = Path(__file__).parent / "golden"
SECOND = 10**9
NOW = 1_700_003_600 * SECOND
QUEUED, STARTING, RUNNING, FINISHED, FAILED, KILLED, NOT_STARTABLE, LOST, SKIPPED = range(1, 10)
RECORD, OUTPUT, CHDIR, SPAWN, EXEC = range(1, 6)
NO_OUTPUT = 1
ARRAY = 4096


def job(state, **fields):
    return {
        "state": state,
        "argv": [b"sleep", b"1"],
        "prefix": b"/tmp/ts-out",
        "base_cwd": b"/home/ann",
        "enqueue_ns": 1_700_000_000 * SECOND,
        **fields,
    }


def ran(state, seconds=1.0, status=0, **fields):
    return job(
        state,
        status=status,
        duration_ns=int(seconds * SECOND),
        **{"start_ns": 1_700_000_001 * SECOND + 250_000_000, "suffix": b"Ab12cd", "pid": 4242, **fields},
    )


JOBS = [
    ran(RUNNING, start_ns=NOW - 95 * SECOND, argv=[b"python", b"train.py", b"--rate=0.1"], label=b"lab", slots=2),
    job(STARTING),
    job(QUEUED, argv=[b"echo", b"after it"], after=[0]),
    job(QUEUED, after=[0, 2], after_ok=[1], label=b"two words", slots=0),
    job(QUEUED, flags=NO_OUTPUT, prefix=b""),
    ran(FINISHED, 1.006, argv=[b"echo", b"hi"], utime_ms=1, stime_ms=2500, maxrss_kb=5120),
    ran(FAILED, 0.000442, 200 << 8, flags=NO_OUTPUT, prefix=b"", suffix=b""),
    ran(FAILED, 90, 1 << 8, prefix=b"/tmp/a", suffix=b"123456"),
    ran(FAILED, 2 * 3600, 127 << 8, stage=EXEC, cause=2, argv=[b"no-such-program"]),
    ran(KILLED, 36 * 3600, 9, argv=[b"sh", b"-c", b"kill -9 $$"], cwd=b"/srv/work"),
    job(NOT_STARTABLE, stage=OUTPUT, cause=28),
    job(NOT_STARTABLE, stage=CHDIR, cause=2),
    job(NOT_STARTABLE, stage=SPAWN, cause=11, notes=1),
    job(NOT_STARTABLE, stage=RECORD),
    ran(LOST, 0, notes=7),
    ran(LOST, 5),
    job(SKIPPED, after_ok=[8], argv=[b"true"]),
    ran(
        FINISHED,
        60,
        argv=["\u6f22\u5b57 \u00e9".encode(), b"\xff\xfe", b"a\nb", b"it's", b""],
        label=b"a\tb\x1b[31m",
        prefix="/tmp/\u6f22\u5b57\u6f22\u5b57\u6f22\u5b57\u6f22\u5b57".encode(),
    ),
]
for number, row in enumerate(JOBS):
    row["id"] = number


@pytest.fixture(autouse=True)
def universal_time(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def compare(name, data):
    path = GOLDEN / name
    if os.environ.get("TSFAST_UPDATE_GOLDEN"):
        path.write_bytes(data)
    assert data == path.read_bytes()


def rows(kind, **options):
    return [render(kind, fields, now_ns=NOW, **options) for fields in JOBS]


def test_list():
    header = render("header", {"used": 2, "slots": 4})
    assert header == b"ID   State      Output               E-Level  Time   Command [run=2/4]\n"
    compare("list.txt", header + b"".join(rows("list")))


def test_list_on_a_terminal():
    compare("list-70.txt", b"".join(rows("list", columns=70)))


def test_list_in_colour():
    """The same list, but for the colour around the state; a narrow terminal gets none."""
    coloured = rows("list", columns=70, colour=True)
    compare("list-colour.txt", b"".join(coloured))
    assert [re.sub(rb"\x1b\[\d*m", b"", row) for row in coloured] == rows("list", columns=70)
    assert rows("list", columns=31, colour=True) == rows("list", columns=31)
    assert [re.sub(rb"\x1b\[\d*m", b"", row) for row in rows("list", colour=True)] == rows("list")


def test_tab():
    compare("tab.txt", b"".join(rows("tab")))


WHOLE, ALLOCATING = 1000, 13
GIB = 1 << 30
GPU_JOBS = [
    ran(RUNNING, start_ns=NOW - 5 * SECOND, gpus=2, gpu_share=WHOLE, granted=[(3, b"GPU-c"), (0, b"GPU-a")]),
    job(ALLOCATING, gpus=16, gpu_share=WHOLE),
    job(QUEUED, gpus=1, gpu_share=500),
    job(QUEUED, gpus=1, gpu_share=125, vram=3 * GIB),
    job(QUEUED, gpus=1, vram=20 * GIB),
    job(QUEUED, gpus=4, vram=512 << 20),
    job(QUEUED, gpus=2, gpu_share=WHOLE, exact=b"1,GPU-a"),
    ran(FINISHED, 1, gpus=1, gpu_share=250, granted=[(7, b"MIG-x")]),
    ran(FINISHED, 2),
]


def test_gpus_in_lists():
    header = render("header", {"used": 1, "slots": 4}, gpus=True)
    assert header == b"ID   State      Output               E-Level  Time   GPUs  Command [run=1/4]\n"
    lines = b"".join(
        render(kind, {"id": id, **fields}, gpus=True, now_ns=NOW)
        for kind in ("list", "tab")
        for id, fields in enumerate(GPU_JOBS)
    )
    compare("gpus.txt", header + lines)


def test_gpus_in_json_and_info():
    found = [json.loads(render("json", {"id": 0, **fields})) for fields in GPU_JOBS]
    assert [row["GPUs"] for row in found] == [2, 16, 0.5, 0.125, 1, 4, 2, 0.25, 0]
    assert [row["GPU_Memory"] for row in found] == [None, None, None, 3 * GIB, 20 * GIB, 512 << 20, None, None, None]
    assert found[0]["GPU_IDs"] == [3, 0] and found[0]["GPU_UUIDs"] == ["GPU-c", "GPU-a"]
    assert found[1]["State"] == "allocating" and found[1]["GPU_IDs"] == []
    text = render("info", GPU_JOBS[0]).decode()
    assert "Slots required: 1\nGPUs required: 2\nGPU IDs: 3,0\nEnqueue time: " in text
    assert "GPUs required: 2\nGPUs named: 1,GPU-a\n" in render("info", GPU_JOBS[6]).decode()
    assert "GPUs required: 0.125\nGPU memory required: 3G\n" in render("info", GPU_JOBS[3]).decode()
    assert "GPU" not in render("info", GPU_JOBS[8]).decode()


def test_header_is_cut_on_a_narrow_terminal():
    header = render("header", {"used": 1, "slots": 4}, columns=40)
    assert header == b"ID   State      Output               ...\n"


def test_json():
    compare("json.txt", b"\n".join(rows("json")) + b"\n")


def test_info():
    compare("info.txt", b"\n".join(rows("info")))


def test_json_values():
    finished = json.loads(rows("json")[5])
    assert finished == {
        "ID": 5,
        "State": "finished",
        "Output": "/tmp/ts-out.Ab12cd",
        "E-Level": 0,
        "Time_ms": 1006,
        "GPUs": 0,
        "Command": "echo hi",
        "Label": None,
        "Slots": 1,
        "GPU_IDs": [],
        "GPU_UUIDs": [],
        "GPU_Memory": None,
        "Depends_On": [],
        "Enqueue_Time": 1700000000.0,
        "Start_Time": 1700000001.25,
        "End_Time": 1700000002.256,
        "PID": 4242,
        "Signal": None,
        "Workdir": "/home/ann",
    }
    assert list(finished) == [
        "ID",
        "State",
        "Output",
        "E-Level",
        "Time_ms",
        "GPUs",
        "Command",
        "Label",
        "Slots",
        "GPU_IDs",
        "GPU_UUIDs",
        "GPU_Memory",
        "Depends_On",
        "Enqueue_Time",
        "Start_Time",
        "End_Time",
        "PID",
        "Signal",
        "Workdir",
    ]
    killed = json.loads(rows("json")[9])
    assert (killed["Signal"], killed["E-Level"], killed["Workdir"]) == (9, -1, "/srv/work")
    queued = json.loads(rows("json")[3])
    assert queued["Depends_On"] == [0, 2, 1]
    for name in ("Output", "E-Level", "Time_ms", "Start_Time", "End_Time", "PID", "Signal"):
        assert queued[name] is None


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, b" 0.00s"),
        (0.996, b" 1.00s"),
        (60, b"60.00s"),
        (61, b" 1.02m"),
        (3600, b"60.00m"),
        (3661, b" 1.02h"),
        (86400, b"24.00h"),
        (129600, b" 1.50d"),
        (86400 * 12345, b"12345.00d"),
    ],
)
def test_times(seconds, shown):
    assert render("list", ran(FINISHED, seconds))[37:].startswith(b"0        " + shown + b" sleep 1")


def test_time_of_a_running_job():
    fields = ran(RUNNING, start_ns=NOW)
    assert b"  0.00s sleep" in render("list", fields, now_ns=NOW - 5)
    assert b" 12.00s sleep" in render("list", fields, now_ns=NOW + 12 * SECOND)
    assert b"\nTime running: 1.5s\n" in render("info", fields, now_ns=NOW + 1_500_000_000)


def test_a_long_path_is_cut():
    fields = ran(FINISHED, prefix=b"/tmp/123456789012", suffix=b"34")
    assert render("list", fields)[16:].startswith(b"/tmp/123456789012.34 0 ")
    fields["suffix"] = b"345"
    assert render("list", fields)[16:].startswith(b"/tmp/1234567890...   0 ")


def test_wide_characters_keep_the_columns():
    plain, wide = (render("list", ran(FINISHED, prefix=prefix, suffix=b"x")) for prefix in (b"/ab", "/\u6f22".encode()))
    assert columns_of(plain) == columns_of(wide)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("", 0),
        ("abc", 3),
        ("\u00e9", 1),
        ("e\u0301", 1),
        ("\u6f22\u5b57", 4),
        ("\U0001f600", 2),
        ("\uff21", 2),
        ("\ud55c", 2),
        ("\u200b", 0),
        ("\u20ac", 1),
        ("\U0010ffff", 1),
    ],
)
def test_columns(text, columns):
    assert columns_of(text.encode()) == columns


def test_columns_of_invalid_bytes():
    assert columns_of(b"\xff\xc3") == 2
    assert columns_of(b"\xed\xa0\x80") == 3
    assert columns_of(b"\xc0\x80") == 2
    assert columns_of(b"\xf4\x90\x80\x80") == 4
    assert columns_of(b"\xe6\xbc") == 2


def test_columns_are_those_of_the_unicode_tables():
    for code in range(0x20, 0x3000):
        kind = unicodedata.category(chr(code))
        if kind in ("Mn", "Me"):
            assert columns_of(chr(code).encode()) == 0, hex(code)
        elif kind[0] in "LNP" and not 0x1160 <= code <= 0x11FF:
            wide = unicodedata.east_asian_width(chr(code)) in "WF"
            assert columns_of(chr(code).encode()) == 1 + wide, hex(code)


def test_lines_are_cut_between_characters():
    fields = job(QUEUED, argv=["\u6f22".encode() * 40])
    for columns in range(1, 150):
        line = render("list", fields, columns=columns)[:-1]
        line.decode()
        assert columns - 1 <= columns_of(line) <= columns or columns > 134
    assert render("list", fields, columns=64)[53:] == ("'" + "\u6f22" * 3 + "...\n").encode()
    assert render("list", fields, columns=200) == render("list", fields)


def test_what_is_cut_is_not_written():
    huge = job(
        QUEUED, argv=[b"x" * 1_000_000, b"y"], label="\u6f22".encode() * 20_000, after=list(range(0, 120_000, 2))
    )
    assert len(render("list", huge)) > 1_300_000
    for fields in (huge, {**huge, "after": []}, {**huge, "after": [], "label": b""}):
        line = render("list", fields, columns=80)
        assert columns_of(line[:-1]) in (79, 80)
        assert line.endswith(b"...\n")


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        (b"", b"''"),
        (b"abc", b"abc"),
        (b"A-z_0@%+=:,./", b"A-z_0@%+=:,./"),
        (b"a b", b"'a b'"),
        (b"it's", b"'it'\\''s'"),
        (b"~", b"'~'"),
        (b"$x", b"'$x'"),
        (b"*", b"'*'"),
        (b"\\", b"'\\'"),
        (b"a\nb", b"$'a\\nb'"),
        (b"\t'\\", b"$'\\t\\'\\\\'"),
        (b"\x01f", b"$'\\x01f'"),
        (b"\xff", b"$'\\xff'"),
        (b"\x7f", b"$'\\x7f'"),
        ("\u00e9 \u6f22".encode(), "'\u00e9 \u6f22'".encode()),
        ("\u0085".encode(), b"$'\\xc2\\x85'"),
    ],
)
def test_quoting(word, quoted):
    assert quote(word) == quoted


no_nul = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=30).map(lambda text: text.encode(errors="surrogatepass")),
    st.text("'\"\\$`!\n\t ~{}*#=ab\u00e9\u0301\u6f22\x85\x1b\u2028", max_size=30).map(str.encode),
).map(lambda data: data.replace(b"\0", b""))


@settings(max_examples=60)
@given(st.lists(no_nul, min_size=1, max_size=30), st.sampled_from(["C", "C.UTF-8"]))
def test_bash_reads_back_what_was_quoted(words, locale):
    line = b" ".join(map(quote, words))
    assert not any(byte < 0x20 or byte == 0x7F for byte in line)
    done = subprocess.run(
        ["bash", "-c", b"printf '%s\\0' " + line],
        stdout=subprocess.PIPE,
        check=True,
        env={"PATH": os.environ["PATH"], "LC_ALL": locale},
    )
    assert done.stdout == b"".join(word + b"\0" for word in words)


@given(no_nul)
@example(b'"\\/\x00\x1f\x7f')
def test_json_strings(data):
    loaded = json.loads(json_string(data).decode())
    try:
        assert loaded == data.decode()
    except UnicodeDecodeError:
        assert "\ufffd" in loaded


@st.composite
def jobs(draw):
    state = draw(st.integers(QUEUED, SKIPPED))
    number = st.integers(0, 2**63 - 1)
    return {
        "id": draw(number),
        "state": state,
        "argv": draw(st.lists(no_nul, min_size=1, max_size=5)),
        "label": draw(no_nul),
        "prefix": draw(no_nul),
        "suffix": draw(st.sampled_from([b"", b"Ab12cd"])),
        "cwd": draw(no_nul),
        "base_cwd": draw(no_nul),
        "after": draw(st.lists(number, max_size=3)),
        "after_ok": draw(st.lists(number, max_size=3)),
        "status": draw(st.integers(-(2**31), 2**31 - 1)),
        "stage": draw(st.integers(0, 2**8 - 1)),
        "cause": draw(st.integers(0, 2**16 - 1)),
        "notes": draw(st.integers(0, 255)),
        "pid": draw(st.integers(-(2**31), 2**31 - 1)),
        "start_ns": draw(st.integers(0, 2**64 - 1)),
        "duration_ns": draw(st.integers(0, 2**64 - 1)),
        "enqueue_ns": draw(st.integers(0, 2**64 - 1)),
        "utime_ms": draw(st.integers(0, 2**32 - 1)),
        "maxrss_kb": draw(st.integers(0, 2**32 - 1)),
        "slots": draw(st.integers(0, 2**32 - 1)),
        "flags": draw(st.integers(0, 15)),
    }


def is_one_line(data):
    return data.endswith(b"\n") and len(data.decode(errors="replace").splitlines()) == 1


@given(jobs(), st.integers(0, 200), st.integers(0, 2**64 - 1))
def test_any_job_is_one_row(fields, columns, now_ns):
    line = render("list", fields, columns=columns, now_ns=now_ns)
    assert is_one_line(line)
    if columns:
        assert columns_of(line[:-1]) <= columns
    line = render("tab", fields, now_ns=now_ns)
    assert is_one_line(line)
    assert line.count(b"\t") == 8


@given(jobs(), st.integers(0, 2**64 - 1))
def test_any_job_is_valid_json(fields, now_ns):
    line = render("json", fields, now_ns=now_ns)
    assert b"\n" not in line
    loaded = json.loads(line.decode())
    assert len(loaded) == 19
    assert loaded["ID"] == fields["id"]


@given(jobs(), st.integers(0, 2**64 - 1))
def test_any_job_has_information_line_by_line(fields, now_ns):
    lines = render("info", fields, now_ns=now_ns).decode(errors="replace").splitlines()
    assert all(": " in line for line in lines)
    assert sum(line.startswith("Command: ") for line in lines) == 1


# ---- arrays


def element(state=QUEUED, **fields):
    return job(
        state, id=12, argv=[b"run", b"7"], pattern=[b"run", b"{}"],
        flags=ARRAY, batch_index=6, batch_count=1000, array_first=1, array_limit=50, **fields,
    )  # fmt: skip


def counts(**numbers):
    return {
        "first": 6, "count": 1000, "index": 1, "shown": False,
        **dict.fromkeys(("queued", "running", "ok", "failed", "skipped", "unreadable", "removed"), 0), **numbers,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("numbers", "state", "text"),
    [
        ({"queued": 900, "running": 50, "ok": 48, "failed": 2}, "running", "900 queued, 50 running, 48 ok, 2 failed"),
        ({"queued": 1, "failed": 2}, "queued", "1 queued, 2 failed, 997 forgotten"),
        ({"ok": 1000}, "finished", "1000 ok"),
        ({"ok": 990, "unreadable": 1, "removed": 9}, "finished", "990 ok, 1 unreadable"),
        ({"ok": 1, "skipped": 2}, "finished", "1 ok, 2 skipped, 997 forgotten"),
        ({"skipped": 2}, "skipped", "2 skipped, 998 forgotten"),
    ],
)
def test_row_of_an_array(numbers, state, text):
    row = render("array", element(counts=counts(**numbers), label=b"L", after_ok=[1])).decode()
    assert row == f"6[1-1000] {state:<10} {'(files)':<20} {'':16}({text}) [1]&& [L]run '{{}}'\n"
    for columns in (5, 31, 32, 60, 80):
        cut = render("array", element(counts=counts(**numbers)), columns=columns, colour=True).decode()
        assert len(re.sub("\x1b\\[\\d*m", "", cut)) <= columns + 1


def test_element_alone():
    assert render("array", element(counts={**counts(ok=1), "count": 1})).startswith(b"6[1] ")
    assert b"run 7\n" in render("list", element())
    told = json.loads(render("json", element()))
    assert (told["Array"], told["Index"], told["Command"]) == (6, 7, "run 7")
    assert "Array" not in json.loads(render("json", job(QUEUED)))
    assert b"Array: 6[7] of 1000, at most 50 at once\n" in render("info", element())


def test_ids_in_a_row():
    def shown(*ids):
        return re.search(r"\[.*\]&& ", render("list", job(QUEUED, after=ids)).decode())[0]

    assert shown(1, 2, 3, 4) == "[1,2,3,4]&& "
    assert shown(0, 5, 6, 7, 8, 9, 9, 11) == "[0,5-9,9,11]&& "
    assert shown(*range(1000)) == "[0-999]&& "
    assert json.loads(render("json", job(QUEUED, after=[*range(9)])))["Depends_On"] == [*range(9)]
