"""A caller's Python surroundings reach none of our own processes: variables, directory, modules of standard names.

The hostile modules lie in the directory of every call and job. Each leaves a mark when it is executed.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.gpu_queue import GpuQueue
from support.installation import BIN, PACKAGE
from support.patience import wait_until
from support.queues import Queue

HOSTILE = (
    "os json socket re subprocess encodings tsfast sitecustomize usercustomize pynvml argparse select zlib typing "
    "types email ctypes shutil stat time site contextlib fcntl signal pathlib pickle traceback collections functools"
).split()
PACKAGES = ("encodings", "tsfast", "email", "ctypes", "collections")
# The interpreter of a script reads these before its first line, and nothing in the script can help it.
BEFORE_ANY_SCRIPT = ("encodings", "tsfast", "sitecustomize", "usercustomize", "os", "site", "stat", "time")
BEFORE_ANY_SCRIPT += ("re", "types", "collections", "functools")  # pip writes `import re`
MANY = 2001  # rows: more than the server lists itself

VARIABLES: dict[str, dict[str, str | None]] = {
    "directory": {},
    "path": {"PYTHONPATH": "HERE"},
    "relative path": {"PYTHONPATH": ".:"},
    "home": {"PYTHONHOME": "/nonexistent", "PYTHONPLATLIBDIR": "nowhere"},
    "user's packages": {"PYTHONUSERBASE": "HERE"},
    "warnings": {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"},
    "noise": {"PYTHONVERBOSE": "1", "PYTHONPROFILEIMPORTTIME": "1", "PYTHONDEBUG": "1"},
    "inspect": {"PYTHONINSPECT": "1", "PYTHONSTARTUP": "HERE/os.py"},
    "optimized": {"PYTHONOPTIMIZE": "2", "PYTHONDONTWRITEBYTECODE": "1"},
    "encoding": {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "utf-16", "LC_ALL": "C"},
    "no locale": {"LC_ALL": None},
    "seed": {"PYTHONHASHSEED": "bad"},
    "memory": {"PYTHONMALLOC": "nonsense", "PYTHONTRACEMALLOC": "x", "PYTHONINTMAXSTRDIGITS": "1"},
}
FATAL = ("home", "seed", "memory")  # no script starts


def plant(place: Path, mark: Path, names: list[str]) -> None:
    for name in names:
        path = place / name / "__init__.py" if name in PACKAGES else place / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"open({str(mark)!r}, 'a').write({name + chr(10)!r})\n")


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "executed"


def surround(queue: Queue, name: str) -> dict[str, str]:
    """Have all calls made in these surroundings; what a job has to see of the variables."""
    changes = {key: value and value.replace("HERE", str(queue.work)) for key, value in VARIABLES[name].items()}
    queue.environment = queue.env(changes)
    return {key: value for key, value in changes.items() if value is not None and key.startswith("PYTHON")}


def listed(variables: dict[str, str]) -> str:
    return "".join(sorted(f"{name}={value}\n" for name, value in variables.items()))


def install(place: Path) -> Path:
    """The launcher in a directory of its own, with the package where an installation has it; the tests' environment may
    have it in place, and is then run in the slow way."""
    packages = place / f"lib/python3.{sys.version_info[1]}/site-packages"
    packages.mkdir(parents=True)
    (packages / "tsfast").symlink_to(PACKAGE)
    (place / "bin").mkdir()
    for name in ("ts", "tsfast"):
        shutil.copy(BIN / name, place / "bin")
    return place / "bin" / "ts"


@pytest.mark.parametrize("way", ["short", "as installed"])
@pytest.mark.parametrize("name", VARIABLES)
def test_every_process_of_a_queue(gpu_queue: GpuQueue, mark: Path, name: str, way: str) -> None:
    queue = gpu_queue
    if way == "short":
        queue.program = install(queue.directory / "short")
    plant(queue.work, mark, HOSTILE)
    user_site = queue.work / f"lib/python3.{sys.version_info[1]}/site-packages"
    plant(user_site, mark, HOSTILE)
    (user_site / "planted.pth").write_text(f"import sys; open({str(mark)!r}, 'a').write('pth')\n")
    before = queue.environment
    variables = surround(queue, name)
    shown = r"env | LC_ALL=C grep -E '^(PYTHON|LC_)' | LC_ALL=C sort"
    of_caller = variables | ({"LC_ALL": queue.environment["LC_ALL"]} if "LC_ALL" in queue.environment else {})
    of_job = {"PYTHONUNBUFFERED": "1"} | of_caller

    # the server, and what the launcher does by itself
    queue.environment["TS_SLOTS"] = "1"
    queue.environment["TS_SAVELIST"] = str(queue.directory / "saved")
    assert queue.get("-h").startswith("ts [options] command")
    assert queue.output(queue.finish("sh", "-c", shown)) == listed(of_job)

    # the command line in Python
    done = queue.run("-c", queue.finish("-z", "printf", "gr\\303\\274n\\n"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "gr\u00fcn\n", "")
    assert queue.get("--set_logdir", queue.out) == ""
    assert queue.refused("--set_logdir", "no\u00fc").startswith("ts: --set_logdir: '")
    assert queue.output(queue.finish("--log", "n\u00fc", "sh", "-c", shown)) == listed(of_job)
    assert " is there already; --append or " in queue.refused("--log", "n\u00fc", "true")
    facts = queue.finish("sh", "-c", shown, env={"TS_ENV": f"echo facts; {shown}"})
    assert f"Environment:\nfacts\n{listed(of_caller)}" in queue.get("-i", facts) + "\n"
    assert queue.output(facts) == listed(of_job)
    with_mail = mailed(queue)
    first, gate = queue.blocker()
    assert queue.get("--batch", "-", stdin="true\n" * MANY)
    rows = queue.get("-l").splitlines()[2:]  # the job that runs shows for how long
    assert len([row for row in rows if re.match(r"\d+ +queued .* true$", row)]) == MANY
    assert queue.get("-l", env={**dict.fromkeys(variables), "LC_ALL": before["LC_ALL"]}).splitlines()[2:] == rows

    # the list that is saved, and a server in the same surroundings after it
    queue.kill_server(signal.SIGTERM)
    saved = (queue.directory / "saved").read_text().splitlines()
    assert len(saved) == MANY + 2 and saved[-1].endswith(" && ts -- true)"), saved[:3]
    assert queue.state(first) == "running"
    queue.run("-r", f"{first + 1}-{first + MANY}")
    gate.open()

    # the process that asks NVML
    job = queue.run("-G", 1, "sh", "-c", "echo $CUDA_VISIBLE_DEVICES", env={"TS_ENV": None})
    assert queue.wait(int(job.stdout)) == 0, queue.log()
    assert re.fullmatch(r"[0-7]|GPU-[-0-9a-f]+", queue.output(int(job.stdout)).strip())

    assert with_mail()
    assert not mark.exists(), mark.read_text()
    assert [line for line in queue.log().splitlines() if not re.match(r"\d{4}-\d\d-\d\d ", line)] == []


def mailed(queue: Queue):
    """A job of -m; whether its mail has come, as it should be."""
    place = queue.directory / "mailbin"
    place.mkdir()
    sendmail = place / "sendmail"
    sendmail.write_text('#!/bin/sh\ncat > "$0.new" && mv "$0.new" "$0.box"\n')
    sendmail.chmod(0o755)
    path = f"{place}:{queue.environment['PATH']}"
    job = queue.finish("-m", "printf", "gr\\303\\274n\\n", env={"PATH": path, "TS_MAILTO": "ann"})
    box = place / "sendmail.box"

    def came() -> bool:
        wait_until(box.exists, "the mail")
        text = box.read_text()
        return f"\nSubject: ts: job {job} ended with error level 0: printf" in text and text.endswith("gr=C3=BCn\n")

    return came


@pytest.mark.parametrize("name", [name for name in VARIABLES if name not in FATAL])
def test_commands_that_somebody_types(gpu_queue: GpuQueue, mark: Path, name: str) -> None:
    """Of `tsfast` the interpreter of the script has the surroundings; what follows its start has not."""
    queue = gpu_queue
    plant(queue.work, mark, [one for one in HOSTILE if one not in BEFORE_ANY_SCRIPT])
    calm = {word: typed(queue, word) for word in ("doctor", "gpus")}
    surround(queue, name)
    noise = name == "noise"  # of the interpreter of the script itself, on stderr
    for word, before in calm.items():
        code, out, err = typed(queue, word)
        assert (code, out) == before[:2], err
        assert err == before[2] or noise
    done = subprocess.run(
        [BIN / "tsfast", "sh", "-c", "env | grep ^PYTHON | LC_ALL=C sort"],
        env=queue.env(),
        cwd=queue.work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and (noise or done.stderr == ""), done
    job = int(done.stdout)
    queue.wait(job)
    of_job = {key: value for key, value in queue.environment.items() if key.startswith("PYTHON")}
    assert queue.output(job) == listed({"PYTHONUNBUFFERED": "1"} | of_job)
    assert not mark.exists(), mark.read_text()


def typed(queue: Queue, word: str) -> tuple[int, list[object], str]:
    """The exit code, what is told in all surroundings alike, and stderr."""
    done = subprocess.run(
        [BIN / "tsfast", word, "--json"],
        env=queue.env(),
        cwd=queue.work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    told = json.loads(done.stdout)
    if word == "doctor":
        told = sorted({(one["level"], one["check"]) for one in told if one["check"] != "variables"})
    return done.returncode, told, done.stderr


PROGRAM = """
import os, tsfast
def seen():
    import json, socket
    return json.dumps(sorted(name for name in os.environ if name.startswith("PYTHON")))
with tsfast.Executor() as executor:
    print(executor.submit(seen).result(60))
    if "PYTHONPATH" in os.environ:
        import helper
        print(executor.submit(helper.name).result(60), executor.submit(os.getenv, "PYTHONPATH").result(60))
"""


@pytest.mark.parametrize("helped", [False, True], ids=["directory", "path"])
def test_tasks_of_an_executor(queue: Queue, mark: Path, helped: bool) -> None:
    """A task has the interpreter of the program's user: PYTHONPATH counts, the job's directory does not."""
    plant(queue.work, mark, HOSTILE)
    helpers = queue.directory / "helpers"
    helpers.mkdir()
    (helpers / "helper.py").write_text("def name(): return __name__\n")
    program = queue.directory / "program" / "main.py"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    if helped:
        queue.environment["PYTHONPATH"] = str(helpers)
    done = subprocess.run([sys.executable, program], env=queue.env(), cwd=queue.work, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    variables = ["PYTHONPATH", "PYTHONUNBUFFERED"] if helped else ["PYTHONUNBUFFERED"]
    more = f"helper {helpers}\n" if helped else ""
    assert done.stdout == f"{json.dumps(variables)}\n{more}"
    assert not mark.exists(), mark.read_text()


@pytest.mark.parametrize("name", VARIABLES)
def test_the_server_of_a_service(queue: Queue, mark: Path, name: str) -> None:
    """As the user manager runs it, which may have been given the variables of a session."""
    printed = subprocess.check_output([BIN / "tsfast", "install-service", "--print"], env=queue.env(), text=True)
    (unset,) = re.findall(r"^UnsetEnvironment=(.*)$", printed, re.MULTILINE)
    plant(queue.work, mark, HOSTILE)
    surround(queue, name)
    calm = queue.env(dict.fromkeys(unset.split()))
    service = subprocess.Popen(
        [BIN / "tsfast", "serve"], env=calm, cwd=queue.work, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    queue.children.append(service)
    wait_until(lambda: queue.socket.exists() or service.poll() is not None, "the service serves")
    assert queue.state(queue.finish("true")) == "finished"
    assert queue.servers() == [service.pid]
    service.terminate()
    assert service.communicate() == (None, "")
    assert service.returncode == 0
    assert not mark.exists(), mark.read_text()
