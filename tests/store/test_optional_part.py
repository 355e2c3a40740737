"""The part of a record that most jobs lack (struct tsf_extra, struct tsf_course), as later releases will write it."""

import ctypes
import os
from pathlib import Path

import pytest

from support import layouts
from tsfast.client.reader import DAMAGED, QUEUED, Reader
from tsfast.store.table import TableProbe

ID = 3
TEXTS = {"params_len": b"a=1\0b=2\0", "gpu_kind_len": b"H200"}


def optional_part(words: int = 0, serials: tuple[int, int] = (0, 0)) -> bytes:
    """Of job ID: with a mask of so many words in each course, and courses of these serials; 0: none."""
    size = ctypes.sizeof(layouts.tsf_extra)
    extra = layouts.tsf_extra(version=layouts.TSF_EXTRA_VERSION, size=size, limit_s=60, core_words=words, n_one_of=1)
    for name, text in TEXTS.items():
        setattr(extra, name, len(text))
    parts = (1).to_bytes(8, "little") + b"".join(TEXTS.values())
    extra.length = size + len(parts)
    extra.check = layouts.lib.extra_check(bytes(extra) + parts, ID)
    whole = bytes(extra) + parts
    whole += bytes(-len(whole) % 8)
    for serial in serials:
        course = layouts.tsf_course(serial=serial, paused_ns=serial * 10)
        mask = b"\xff" * 8 * words
        if serial:
            course.check = layouts.lib.course_check(bytes(course) + mask, words, ID)
        whole += bytes(course) + mask
    return whole


@pytest.fixture
def directory(tmp_path: Path) -> int:
    return os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)


@pytest.fixture
def table(directory: int) -> TableProbe:
    table = TableProbe(os.dup(directory))
    table.put({}, n=ID)
    return table


@pytest.mark.parametrize("words", [0, 2])
def test_it_is_read_with_its_job(table: TableProbe, directory: int, words: int) -> None:
    part = optional_part(words, (1, 0))
    assert table.put({}, extra=part) == ID
    table.put({})
    assert table.extra(ID) == part
    assert table.extra(ID - 1) is None and table.extra(ID + 1) is None
    assert all(table.is_whole(id) for id in range(ID + 2))
    reader = Reader(directory)
    assert reader.state(ID) == QUEUED
    assert reader.job(ID)["argv"] == [b"true"]


def test_each_damaged_byte_makes_the_job_unreadable(table: TableProbe) -> None:
    """Those of its two courses do not: see below."""
    part = bytearray(optional_part())
    length = layouts.tsf_extra.from_buffer(part).length
    cold = layouts.tsf_cold(extra_len=len(part) // 8)
    assert layouts.lib.extra_fits(bytes(part), cold, ID)
    assert not layouts.lib.extra_fits(bytes(part), cold, ID + 1), "it is another job's"
    for at in range(length):
        damaged = bytearray(part)
        damaged[at] ^= 0x10
        assert not layouts.lib.extra_fits(bytes(damaged), cold, ID), at
    for room in (len(part) // 8 - 1, len(part) // 8 + 1, 1):
        assert not layouts.lib.extra_fits(bytes(part) + bytes(8), layouts.tsf_cold(extra_len=room), ID)
    part[layouts.tsf_extra.limit_s.offset] ^= 1
    table.put({}, extra=bytes(part))
    with pytest.raises(OSError):
        table.extra(ID)
    assert not table.is_whole(ID)


@pytest.mark.parametrize(("serials", "newest"), [((0, 0), -1), ((1, 0), 0), ((1, 2), 1), ((3, 2), 0), ((0, 7), 1)])
def test_the_later_of_two_courses_counts(serials: tuple[int, int], newest: int) -> None:
    part = bytearray(optional_part(1, serials))
    assert layouts.lib.course_newest(bytes(part), ID) == newest
    if newest < 0:
        return
    courses = len(part) - 2 * (ctypes.sizeof(layouts.tsf_course) + 8)
    part[courses + newest * (ctypes.sizeof(layouts.tsf_course) + 8) + layouts.tsf_course.paused_ns.offset] ^= 1
    other = 1 - newest if serials[1 - newest] else -1
    assert layouts.lib.course_newest(bytes(part), ID) == other, "the write of the newest one was cut off"


def test_a_plain_job_has_none(table: TableProbe, directory: int) -> None:
    assert [table.extra(id) for id in range(ID)] == [None] * ID
    assert DAMAGED not in [Reader(os.dup(directory)).state(id) for id in range(ID)]
