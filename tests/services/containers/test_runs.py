"""Runs in containers of their own: what they can reach, and how they end."""

import os
import re
import signal
import socket
import threading
import time
import uuid
from pathlib import Path

import pytest

from helpers.attacks import Cell, leaving, listening, messages, others, refusals
from helpers.candidates import TRAIN, Arena, before
from helpers.run_plans import DATA, launch, processes_named, store
from ratchet.base.errors import ConfigError
from ratchet.base.io import digest_bytes
from ratchet.records.records import Outcome
from ratchet.records.series import SAMPLES
from ratchet.records.store import LOG, RunRecord
from ratchet.runs import supervisor
from ratchet.runs.process import descendants
from ratchet.runs.sandbox.container import LABEL, container_engine
from ratchet.runs.sandbox.sandbox import SandboxKind

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("engine", "left")]


def run(root: Path, source: str, **changes: object) -> tuple[RunRecord, str]:
    fixed = {"prepare.py": b"VALUE = 1\n"}
    given = {"fixed": fixed, "timeout_seconds": 60.0, "isolation": "container", **changes}
    return launch(root, source, "run with space, comma", **given)


ATTEMPTS = {
    # what it tries: what it must give
    "prepare.VALUE": "1",
    "Path('data/train.bin').read_text()": "'some data'",
    "float(numpy.ones(3).sum())": "3.0",
    "Path('note').write_text('x')": "1",
    "Path(tempfile.gettempdir(), 'x').write_text('x')": "1",
    "os.getpid() != 1 and os.getuid() not in (0, 1000)": "True",
    "sorted(set(os.environ) & {'RATCHET_ENGINE', 'DOCKER_HOST', 'RATCHET_RUN_IMAGE'})": "[]",
    "open('{root}/blob').read()": "FileNotFoundError",
    "open('/data/store/x').read()": "FileNotFoundError",
    "sorted(os.listdir('/exchange'))": "['call', 'work']",
    "[name for name in os.listdir('/exchange/call') if name != 'engine']": "[]",
    "open('/exchange/call/x', 'w')": "OSError",
    "open('prepare.py', 'a')": "PermissionError",
    "open('data/train.bin', 'a')": "PermissionError",
    "os.rename('data', 'other')": "PermissionError",
    "os.remove('prepare.py')": "PermissionError",
    "open('/usr/x', 'w')": "OSError",
    "open('/opt/venv/x', 'w')": "OSError",
    "open('/etc/shadow').read()": "PermissionError",
    "open('/proc/1/environ').read()": "PermissionError",
    "os.listdir('/proc/1/fd')": "PermissionError",
    "open('/proc/1/mem')": "PermissionError",
    "os.kill(1, 9) or os.kill(1, 19) or 'alive'": "'alive'",
    "os.setuid(0)": "PermissionError",
    "socket.create_connection(('127.0.0.1', {port}), 2)": "PermissionError",
    "socket.create_connection(('192.0.2.1', 80), 2)": "PermissionError",
    "len(glob.glob('/proc/[0-9]*')) <= 3": "True",
    "import_module('docutils').__file__": "None",
    "os.listdir(os.path.dirname(numpy.__path__[0]) + '/docutils')": "PermissionError",
    "[open(p).read() for p in glob.glob('/opt/venv/lib/*/site-packages/docutils/*.py')]": "[]",
    "subprocess.run(['su', '-c', 'true'], capture_output=True).returncode != 0": "True",
    "[Path(name).read_text() for name in LIMITS if Path(name).exists()]": r"['77\n']",
}


def test_what_a_run_can_reach(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        places = {"{root}": str(tmp_path), "{port}": str(server.getsockname()[1])}
        expressions = list(ATTEMPTS)
        for place, value in places.items():
            expressions = [text.replace(place, value) for text in expressions]
        source = f"""
import glob, os, socket, subprocess, sys, tempfile
from importlib import import_module
from pathlib import Path
import numpy, prepare
LIMITS = "/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"
for text in {expressions!r}:
    try: said = repr(eval(text))
    except PermissionError: said = "PermissionError"
    except (FileNotFoundError, ConnectionRefusedError, ModuleNotFoundError) as error:
        said = type(error).__name__
    except OSError: said = "OSError"
    except Exception as error: said = repr(error)
    print(said)
print("val: 1")
"""
        record, log = run(tmp_path, source, limits={"processes": 77})
    assert record.outcome is Outcome.OK, (record, log)
    assert record.isolation == "container"
    assert dict(zip(expressions, log.splitlines(), strict=False)) == dict(
        zip(expressions, ATTEMPTS.values(), strict=True)
    )
    assert store(tmp_path).get(digest_bytes(DATA)) == DATA
    kept = tmp_path / "run with space, comma"
    # Of a run that lasted more than a second samples are kept, too.
    assert {path.name for path in kept.iterdir()} - {SAMPLES} == {LOG, "source"}


def test_a_guard_runs_there_too(tmp_path: Path) -> None:
    smoke = b"import os, train\nassert train.WIDTH < 3\nassert os.getuid() not in (0, 1000)\n"
    own = {"guard": True, "metric": "", "command": ["python", "smoke.py"]}
    for width, outcome in ((2, Outcome.OK), (3, Outcome.GUARD_FAILED)):
        folder = tmp_path / f"{width}"
        folder.mkdir()
        record, log = run(folder, f"WIDTH = {width}\n", fixed={"smoke.py": smoke}, **own)
        assert record.outcome is outcome, log
        assert record.isolation == "container"


def test_nothing_beyond_its_files_is_reached(tmp_path: Path) -> None:
    """The attacks of tests/security/test_reach.py."""
    cell = Cell(tmp_path, SandboxKind.CONTAINER.value, folder="run")
    mark, name = int(uuid.uuid4().hex[:7], 16), f"ratchet-{uuid.uuid4().hex}"
    leaves, finds = leaving(mark, name)
    with listening() as listeners:
        assert cell.reached(messages(listeners.places)) == set()
        assert listeners.heard() == set()
    # The only processes of this user that it can name are its own.
    assert cell.reached(others(os.getpid())) <= {"priority of the user"}
    cell.run(leaves)
    assert cell.reached(finds) == set()
    calls = refusals()
    assert cell.reached(calls) == set(calls)


def test_an_engine_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the container did not start: .*emory"):
        run(tmp_path, "print('val: 1')", limits={"memory_mb": 1})


def test_a_daemon_does_not_survive(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    source = f"""
import os, signal, subprocess, sys
sleep = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
for new in (False, True):
    subprocess.Popen([sys.executable, "-c", sleep, {mark!r}], start_new_session=new)
print("val: 1", flush=True)
"""
    record, _ = run(tmp_path, source)
    assert record.outcome is Outcome.OK
    assert processes_named(mark) == []


def test_a_killed_supervisor_takes_the_container_along(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    killed: list[int] = []

    def kill_supervisors() -> None:
        limit = time.monotonic() + 50
        while len(killed) < 2 and time.monotonic() < limit:
            for pid in descendants(os.getpid()):
                try:
                    line = Path(f"/proc/{pid}/cmdline").read_bytes()
                except OSError:
                    continue
                inside = [found for found in processes_named(mark) if found != pid]
                if os.fsencode(supervisor.__file__) in line and pid not in killed and inside:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
            time.sleep(0.05)

    killer = threading.Thread(target=kill_supervisors)
    killer.start()
    record, _ = run(tmp_path, "import time\ntime.sleep(600)", command=["python", "train.py", mark])
    killer.join()
    assert len(killed) == 2
    assert record.outcome is Outcome.KILLED
    limit, shown = time.monotonic() + 20, ("ps", "-aq", "--filter", f"label={LABEL}")
    while processes_named(mark) or container_engine().ask(*shown):
        assert time.monotonic() < limit
        time.sleep(0.1)


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    return Arena(tmp_path_factory.mktemp("arena with space"))


def test_the_default_task_gives_the_same_number_and_has_no_validation_data(arena: Arena) -> None:
    shown = arena.store.path(arena.data["train.bin"]).read_bytes()
    text = arena.store.path(arena.data["val.bin"]).read_bytes()
    pieces = [text[i : i + 64] for i in range(0, len(text), 64)]
    # In the candidate itself a line's end is written as an escape.
    words = repr(next(piece for piece in pieces if piece not in shown and b"\n" in piece))
    look = f"""
def look():
    import os
    seen = 0
    for top, _, names in os.walk("/"):
        if top.startswith(("/proc", "/sys", "/dev", "/usr")): continue
        for name in names:
            try: content = open(os.path.join(top, name), "rb").read()
            except OSError: continue
            seen += 1
            if {words} in content: print("found", top, name)
    print("searched", seen)
look()
"""
    found = arena.attempt(
        before("def main() -> None:\n", look + "\n\n", TRAIN), SandboxKind.CONTAINER
    )
    assert found.value == arena.honest()
    assert int(re.search(r"searched (\d+)", found.log)[1]) > 1000
    assert "found" not in found.log
