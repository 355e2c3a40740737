"""What the tutorial, the how-to pages and the README tell their readers to type works, and prints what they show."""

import importlib.util
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from support.gpu_queue import GpuQueue
from support.pages import Page, same
from support.patience import patient
from support.places import ROOT
from support.queues import Queue

HOWTO = ROOT / "docs/howto"
GPU_PAGES = [ROOT / "docs/tutorial.md", HOWTO / "gpus.md"]
PAGES = [
    ROOT / "README.md",
    ROOT / "docs/from-task-spooler.md",
    *sorted(set(HOWTO.glob("*.md")) - {*GPU_PAGES, HOWTO / "index.md"}),
]
GPUS = 4


def follow(path: Path, queue: Queue) -> None:
    page = Page(path)
    assert page.steps, f"{path} has no commands"
    for name, text in page.files.items():
        (queue.work / name).write_text(text)
    del queue.environment["TS_STATE"]  # queues that a page makes itself have a state of their own
    script = queue.directory / "page.sh"
    script.write_text(page.script())
    done = subprocess.run(
        ["bash", "--norc", script], env=queue.env(), cwd=queue.work, capture_output=True, text=True, timeout=patient(60)
    )
    assert not done.stderr
    assert not (found := page.differences(done.stdout)), "\n\n".join(found)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_page(path: Path, queue: Queue) -> None:
    follow(path, queue)


@pytest.mark.slow
@pytest.mark.parametrize("path", GPU_PAGES, ids=lambda path: path.stem)
def test_page_with_gpus(path: Path, gpu_queue: GpuQueue) -> None:
    """On a machine of four GPUs, with the slots that a queue has by itself."""
    gpu_queue.nvml.resize(GPUS)
    for number in range(GPUS):
        gpu_queue.nvml.set(number, name="NVIDIA H100 80GB HBM3")
    del gpu_queue.environment["TS_SLOTS"]
    follow(path, gpu_queue)


def test_example_of_the_python_api(gpu_queue: GpuQueue) -> None:
    _, _, rest = (ROOT / "docs/api.rst").read_text().partition(".. code-block:: python\n\n")
    code = textwrap.dedent(re.match(r"(?: +.*\n|\n)+", rest)[0])
    for name in ("prepare.py", "train.py"):
        (gpu_queue.work / name).touch()
    done = subprocess.run(
        [sys.executable, "-c", code], env=gpu_queue.env(), cwd=gpu_queue.work, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert sorted(line.rpartition(" ")[0] for line in done.stdout.splitlines()) == [
        f"{number} finished 0" for number in range(1, 9)
    ]


@pytest.mark.slow
def test_picture_is_what_a_terminal_shows() -> None:
    """`make share` draws it."""
    spec = importlib.util.spec_from_file_location("share_picture", ROOT / "share/picture.py")
    picture = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(picture)
    assert picture.settled(picture.PICTURE.read_text()) == picture.settled(picture.drawing(picture.session()))


def test_page_that_is_wrong_is_told(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("Words.\n\n```console\n$ echo a\na\n$ echo b \\\n> c\nb d\n$ echo e\ne\n```\n")
    page = Page(path)
    commands = ["echo a", "echo b \\\nc", "echo e"]
    assert [step.command for step in page.steps] == commands
    output = subprocess.run(["bash", "-c", page.script()], capture_output=True, text=True).stdout
    (difference,) = page.differences(output)
    assert difference.startswith("line 6: echo b") and "b d\nit prints:\nb c" in difference
    never = [f"line {n}: {command}: was not reached" for n, command in zip((4, 6, 9), commands, strict=True)]
    assert page.differences("") == never


def test_what_differs_from_run_to_run_is_left_out() -> None:
    shown = "0 running /tmp/ts-out.a1B2c3 0.16s sleep 10"
    assert same([shown], ["0    running    /tmp/pytest-of-x...   12.3s sleep 10"])
    assert same([shown], ["0    running    (file)                       sleep 10"])
    assert not same(["0 running"], ["0 queued"])
    assert same(["a", "...", "d"], ["a", "b", "c", "d"])
