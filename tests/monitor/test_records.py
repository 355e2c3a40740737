"""The records of the poller are those of the C header, which the server reads."""

import subprocess
from pathlib import Path

import pytest

from support.installation import NATIVE
from tsfast.monitor import records
from tsfast.monitor.records import Record, pack, unpack

PROGRAM = """
#include "gpus.h"
#include <stdio.h>

int main(void)
{
    struct tsf_gpu gpu = {
        .kind = TSF_GPU_DEVICE, .index = 3,
        .flags = TSF_GPU_VISIBLE | TSF_GPU_ANSWERS | TSF_GPU_FOREIGN | TSF_GPU_EXCLUSIVE | TSF_GPU_MIG,
        .numa = -1, .link = 7, .foreign_uid = 65534, .foreign_pid = 1234, .measured_ns = 1ull << 63,
        .memory_total = 1ull << 40, .memory_free = 5, .uuid = "MIG-1", .bus = "0000:3b:00.0", .name = "A GPU",
        .why = "so"};

    fwrite(&gpu, sizeof(gpu), 1, stdout);
    return 0;
}
"""

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


def compiled(tmp_path: Path, text: str) -> bytes:
    (tmp_path / "probe.c").write_text(text)
    subprocess.run(["gcc", f"-I{NATIVE}", "-o", tmp_path / "probe", tmp_path / "probe.c"], check=True)
    return subprocess.run([tmp_path / "probe"], capture_output=True, check=True).stdout


def test_layout_is_that_of_c(tmp_path: Path) -> None:
    data = compiled(tmp_path, PROGRAM)
    assert unpack(data) == RECORD
    assert pack(RECORD) == data


def test_constants_are_those_of_c(tmp_path: Path) -> None:
    asserts = "\n".join(f'_Static_assert({name} == {value}u, "{name}");' for name, value in NAMES.items())
    compiled(tmp_path, f'#include "gpus.h"\n{asserts}\nint main(void) {{ return 0; }}\n')


@pytest.mark.parametrize("text", ["", "x" * 63, "x" * 64, "x" * 1000, "\N{GREEK SMALL LETTER MU}" * 40, "\udc80"])
def test_texts_are_cut_at_a_character(text: str) -> None:
    why = unpack(pack(Record(records.FAILED, why=text))).why
    assert len(why.encode()) <= 63
    assert text.encode("utf-8", "replace").decode().startswith(why)
