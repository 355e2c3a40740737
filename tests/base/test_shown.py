"""Foreign text as it is shown (native/shown.h): which characters are escaped, for whom, and how."""

import json
import os
import re
import subprocess
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsfast.base.text import KINDS, as_line, json_string, oneline, quote, shortened, shown

HIDDEN, DIRECTION, CONTROL = (KINDS[name] for name in ("hidden", "direction", "control"))
EVERYTHING = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000]
DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def escaped(character: str, least: int) -> bool:
    shown = oneline(character.encode(), least)
    if shown == character.encode():
        return False
    assert re.fullmatch(rb"\\[ntr]|(\\x[0-9a-f]{2})+", shown), (hex(ord(character)), shown)
    return True


def test_everything_that_nobody_sees_is_escaped_for_people() -> None:
    """All of the categories; beside them only what has no look of its own by another rule of Unicode."""
    categories = {"Cc", "Cf", "Zl", "Zp"}
    found = {c for c in EVERYTHING if escaped(c, HIDDEN)}
    assert {c for c in EVERYTHING if unicodedata.category(c) in categories} <= found
    others = {c for c in found if unicodedata.category(c) not in categories}
    assert {c for c in others if unicodedata.category(c) not in ("Cn", "Mn")} == set("\u115f\u1160\u3164\uffa0")
    blocks = [range(0x2060, 0x2070), range(0xFFF0, 0xFFFC), range(0x13430, 0x13440), range(0xE0000, 0xE1000)]
    left = {ord(c) for c in others if unicodedata.category(c) in ("Cn", "Mn") and not any(ord(c) in b for b in blocks)}
    assert left == {0x34F, 0x17B4, 0x17B5}


def test_what_goes_to_files_and_programs_keeps_what_does_no_harm() -> None:
    found = {c for c in EVERYTHING if escaped(c, DIRECTION)}
    controls = {c for c in EVERYTHING if unicodedata.category(c) in ("Cc", "Zl", "Zp")}
    assert found == controls | set(DIRECTIONS)
    assert {c for c in EVERYTHING if escaped(c, CONTROL)} == controls


@pytest.mark.parametrize(
    ("data", "people", "files"),
    [
        (b"a\nb\tc\rd\x1b\x7f", b"a\\nb\\tc\\rd\\x1b\\x7f", b"a\\nb\\tc\\rd\\x1b\\x7f"),
        ("\u0085\u2028".encode(), b"\\xc2\\x85\\xe2\\x80\\xa8", b"\\xc2\\x85\\xe2\\x80\\xa8"),
        (b"\xff\x9b1m", b"\\xff\\x9b1m", b"\xff\\x9b1m"),
        (b"cut \xe6\xbc", b"cut \\xe6\\xbc", b"cut \xe6\xbc"),
        ("a\u202eb".encode(), b"a\\xe2\\x80\\xaeb", b"a\\xe2\\x80\\xaeb"),
        ("a\u200bb\ufeff".encode(), b"a\\xe2\\x80\\x8bb\\xef\\xbb\\xbf", "a\u200bb\ufeff".encode()),
        ("\U000e0041".encode(), b"\\xf3\\xa0\\x81\\x81", "\U000e0041".encode()),
        ("\u2764\ufe0f \u00e9 e\u0301 \u6f22".encode(), *["\u2764\ufe0f \u00e9 e\u0301 \u6f22".encode()] * 2),
        (b"", b"", b""),
    ],
)  # fmt: skip
def test_one_line(data: bytes, people: bytes, files: bytes) -> None:
    assert oneline(data) == oneline(data, HIDDEN) == people
    assert oneline(data, DIRECTION) == files


def test_for_python() -> None:
    text = os.fsdecode("\u00e9 \x1b[2J\u202e".encode() + b"\xff")
    assert shown(text) == "\u00e9 \\x1b[2J\\xe2\\x80\\xae\\xff"
    assert as_line(text) == shown(text).encode() + b"\n"
    assert shown("") == "" and as_line("") == b"\n"
    assert shown("lone \ud800 half") == "lone \\xed\\xa0\\x80 half", "of a JSON file, perhaps"


foreign = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=30).map(lambda text: text.encode(errors="surrogatepass")),
    st.text("a\n\x1b\x85\u200b\u202e\u2028\u6f22\U000e0041\\'\" ", max_size=30).map(str.encode),
)


@given(foreign)
def test_what_is_shown_is_text_of_one_line(data: bytes) -> None:
    shown = oneline(data).decode()
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)


@given(foreign, st.integers(0, 80))
def test_so_many_bytes_at_most(data: bytes, most: int) -> None:
    """Cut between characters and between escapes, with dots only where something is missing."""
    whole, cut = oneline(data), shortened(data, most)
    if len(whole) <= most:
        assert cut == whole
        return
    assert cut.endswith(b"...") and len(cut) <= most + 3
    kept = cut[:-3]
    assert whole.startswith(kept) and most - len(kept) < 16
    kept.decode()
    assert whole in {kept + oneline(data[at:]) for at in range(len(data))}


@given(foreign, st.sampled_from([HIDDEN, DIRECTION, CONTROL]))
def test_json_keeps_its_value(data: bytes, least: int) -> None:
    written = json_string(data, least)
    assert json.loads(written) == json.loads(json_string(data, CONTROL))
    text = written.decode()
    assert not any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in text)
    if least == HIDDEN:
        assert not any(unicodedata.category(c) == "Cf" for c in text)


words = st.lists(foreign.map(lambda data: data.replace(b"\0", b"")), min_size=1, max_size=9)


@given(words, st.sampled_from([HIDDEN, DIRECTION]))
def test_bash_reads_words_back(words: list[bytes], least: int) -> None:
    line = b" ".join(quote(word, least) for word in words)
    done = subprocess.run(["bash", "-c", b"printf '%s\\0' " + line], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"".join(word + b"\0" for word in words)
    assert not set(DIRECTIONS) & set(line.decode())
