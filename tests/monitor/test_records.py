"""The records of the poller are those of the C header, which the server reads."""

import pytest

from support import layouts
from tsfast.monitor import records
from tsfast.monitor.records import Record, pack, unpack

RECORD = Record(
    kind=records.DEVICE,
    index=3,
    flags=records.VISIBLE | records.ANSWERS | records.FOREIGN | records.EXCLUSIVE | records.MIG,
    numa=-1,
    link=7,
    foreign_uid=65534,
    foreign_pid=1234,
    measured_ns=1 << 63,
    memory_total=1 << 40,
    memory_free=5,
    uuid="MIG-1",
    bus="0000:3b:00.0",
    name="A GPU",
    why="so",
)

NAMES = {
    "TSF_GPU_ASKING": records.ASKING,
    "TSF_GPU_DEVICE": records.DEVICE,
    "TSF_GPU_ROUND": records.ROUND,
    "TSF_GPU_FAILED": records.FAILED,
    "TSF_GPU_VISIBLE": records.VISIBLE,
    "TSF_GPU_ANSWERS": records.ANSWERS,
    "TSF_GPU_FOREIGN": records.FOREIGN,
    "TSF_GPU_EXCLUSIVE": records.EXCLUSIVE,
    "TSF_GPU_PROHIBITED": records.PROHIBITED,
    "TSF_GPU_MIG": records.MIG,
    "TSF_GPU_DIVIDED": records.DIVIDED,
    "TSF_GPU_BUSY": records.BUSY,
    "TSF_GPU_UNSEEN": records.UNSEEN,
    "TSF_GPU_NONE": records.NONE,
    "TSF_GPUS": records.MOST,
}


def test_layout_is_that_of_c() -> None:
    flags = ("VISIBLE", "ANSWERS", "FOREIGN", "EXCLUSIVE", "MIG")
    data = bytes(
        layouts.tsf_gpu(
            kind=layouts.TSF_GPU_DEVICE,
            index=3,
            flags=sum(getattr(layouts, f"TSF_GPU_{flag}") for flag in flags),
            numa=-1,
            link=7,
            foreign_uid=65534,
            foreign_pid=1234,
            measured_ns=1 << 63,
            memory_total=1 << 40,
            memory_free=5,
            uuid=b"MIG-1",
            bus=b"0000:3b:00.0",
            name=b"A GPU",
            why=b"so",
        )
    )
    assert unpack(data) == RECORD
    assert pack(RECORD) == data


def test_constants_are_those_of_c() -> None:
    assert {name: getattr(layouts, name) for name in NAMES} == NAMES


@pytest.mark.parametrize("text", ["", "x" * 63, "x" * 64, "x" * 1000, "\N{GREEK SMALL LETTER MU}" * 40, "\udc80"])
def test_texts_are_cut_at_a_character(text: str) -> None:
    why = unpack(pack(Record(records.FAILED, why=text))).why
    assert len(why.encode()) <= 63
    assert text.encode("utf-8", "replace").decode().startswith(why)
