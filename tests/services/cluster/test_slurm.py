"""A real Slurm of two nodes (``.ci/slurm`` starts one) against the same session without it."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from helpers import REPO
from helpers.boxes import DEFAULTS, Box, make_box
from helpers.commands import snakemake_of
from helpers.edits import change
from ratchet.records.ownership import session_owner

# Long enough for something to happen in mid-run.
SLOW = "time.sleep(0.8)\nnumbers ="
EIGHT = {
    **{"rounds": 1, "candidates": 8, "baseline_replicates": 2, "confirm_replicates": 1},
    **{"isolation": "none", "timeout_seconds": 300},
}
SETTINGS = {"rounds": 3, "candidates": 2, "baseline_replicates": 2, "confirm_replicates": 1}


@dataclass
class Cluster:
    """A Slurm that a box's session runs on."""

    snakemake: str
    partition: str

    def start(self, box: Box, said: Path) -> subprocess.Popen[bytes]:
        """Start the session; what it prints is added to a file."""
        values = {**DEFAULTS, **box.settings}
        command = [
            *(self.snakemake, "-s", str(REPO / "Snakefile")),
            *("--profile", str(REPO / "profiles/slurm")),
            # What a site sets, and the seconds of a test.
            *("--default-resources", f"slurm_partition={self.partition}", "slurm_account=none"),
            *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"),
            *("--seconds-between-status-checks", "1", "--latency-wait", "10"),
            *("--config", *(f"{key}={value}" for key, value in values.items())),
        ]
        with said.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=box.path,
                env={**os.environ, **box.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A Slurm for one test at a time, whatever runs beside it."""
    partition = os.environ.get("RATCHET_TEST_SLURM")
    if not partition or shutil.which("sbatch") is None:
        pytest.skip('no Slurm here: eval "$(.ci/slurm)" starts one')
    snakemake = snakemake_of("RATCHET_SLURM_VENV", "env-slurm")
    with Path(tempfile.gettempdir(), f"ratchet-test-slurm-{os.getuid()}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Cluster(snakemake, partition)


def slow_box(path: Path) -> Box:
    box = make_box(path, **SETTINGS)
    change(box, "numbers =", SLOW)
    return box


def running(box: Box) -> set[tuple[int, int]]:
    """Experiments, and their replicates, whose run has begun and not ended, by the journal."""
    begun, ended = (
        Counter((e["number"], e["replicate"]) for e in box.events(kind) if e["role"] == "search")
        for kind in ("run_started", "run_finished")
    )
    return {run for run in begun if not ended[run]}


def underway(box: Box) -> tuple[int, int]:
    """Round and candidate of an experiment whose first run goes on."""
    number = max(number for number, replicate in running(box) if replicate == 0)
    return 1 + (number - 1) // 2, (number - 1) % 2


def worker_of(box: Box, round_: int, candidate: int) -> int:
    """The process that works on an experiment."""
    wanted = [b"--round", f"{round_:04d}".encode(), b"--candidate", str(candidate).encode()]
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            inside = Path(str((process / "cwd").readlink())).is_relative_to(box.path)
            words = (process / "cmdline").read_bytes().split(b"\0")
            if inside and any(words[i : i + 4] == wanted for i in range(len(words))):
                found.append(int(process.name))
    (pid,) = found
    return pid


def in_mid_run(box: Box, least: int) -> Callable[[], bool]:
    """Whether an experiment from number ``least`` on is being run."""
    return lambda: any(number >= least for number, _ in running(box))


@pytest.mark.timeout(1500)
def test_a_session_on_slurm_equals_the_local_one(tmp_path: Path, cluster: Cluster) -> None:
    """Two experiments at a time; a killed worker and a killed head are nothing."""
    box = slow_box(tmp_path / "there")
    said = tmp_path / "said"
    process = cluster.start(box, said)

    def wait(condition: Callable[[], bool]) -> None:
        box.wait_for(lambda: condition() or process.poll() is not None, seconds=300)
        assert process.poll() is None, said.read_text()[-6000:]

    try:
        wait(in_mid_run(box, 1))
        found = session_owner(box.path, box.session.name)
        assert found is not None
        assert found.pid == process.pid, "jobs on nodes must not own the session"
        os.kill(worker_of(box, *underway(box)), signal.SIGKILL)

        wait(in_mid_run(box, 3))
        process.kill()
        process.wait(30)
        process = cluster.start(box, said)
        assert process.wait(600) == 0, said.read_text()[-6000:]
    finally:
        process.kill()
        process.wait(30)
        subprocess.run(["scancel", "--user", str(os.getuid())], check=False)

    here = slow_box(tmp_path / "here")
    here.play(last="confirm")
    assert box.state() == here.state()
    finished = Counter(event["key"] for event in box.events("run_finished"))
    assert max(finished.values()) == 1, "a finished run was repeated"
    assert sorted(finished) == here.runs()
    # The killed one was made again; the one that the head left lived on.
    assert len(box.events("run_started")) == len(finished) + 1
    assert len(box.events("session_started")) == 1
    assert not box.trainers()
    # Trainings were jobs, two at a time; what keeps the records was none.
    sent = {path.name for path in (box.path / ".snakemake/slurm_logs").iterdir()}
    assert sent <= {f"rule_{name}" for name in ("prepare", "baseline_run", "experiment")}
    kinds = [e["event"] for e in box.events() if e["event"] in ("run_started", "run_finished")]
    assert ("run_started", "run_started") in pairwise(kinds)


def control(*words: str) -> bool:
    return subprocess.run(["scontrol", *words], check=False).returncode == 0


def takes_jobs(node: str) -> bool:
    """Whether a node that may have been drained takes jobs, told to resume if not."""
    asked = ["sinfo", "--noheader", f"--nodes={node}", "--format=%T"]
    found = subprocess.run(asked, check=False, capture_output=True, text=True).stdout
    able = {*found.split()} <= {"idle", "mixed", "allocated", "completing"} and bool(found)
    return able or control("update", f"nodename={node}", "state=resume")


def jobs(state: str) -> list[str]:
    """Ids of the jobs that are in a state, in the order of their nodes."""
    asked = ["squeue", "--noheader", f"--states={state}", "--sort=N,i", "--format=%i"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.timeout(1500)
def test_eight_at_once_lose_nothing_in_a_cluster_in_trouble(
    tmp_path: Path, cluster: Cluster
) -> None:
    """A node is drained, jobs make room, are cancelled and queued again, the controller dies."""
    state = os.environ.get("RATCHET_TEST_SLURM_STATE")
    if not state:
        pytest.skip("not a Slurm that .ci/slurm started: its nodes are not ours to drain")
    gate = tmp_path / "gate"

    def eight_box(name: str) -> Box:
        """Its runs wait while there is a gate, which isolated ones could not see."""
        box = make_box(tmp_path / name, **EIGHT)
        waits = f"while os.path.exists({str(gate)!r}):\n    time.sleep(0.05)"
        change(box, "numbers =", f"{waits}\nnumbers =")
        return box

    box, said = eight_box("there"), tmp_path / "said"
    process = cluster.start(box, said)

    def wait(condition: Callable[[], bool]) -> None:
        box.wait_for(lambda: condition() or process.poll() is not None, seconds=300)
        assert process.poll() is None, said.read_text()[-6000:]

    try:
        wait(lambda: len(box.events("run_finished")) == 2)
        gate.touch()
        wait(lambda: len(running(box)) == 8)
        first, second, *_, last = jobs("RUNNING")
        assert control("update", "nodename=one", "state=drain", "reason=test")
        subprocess.run(["scancel", first], check=True)
        assert control("requeue", second)
        # All that run on the other node make room.
        urgent = ["sbatch", "--partition=urgent", "--nodelist=two", "--exclusive"]
        subprocess.run([*urgent, "--output=/dev/null", "--wrap=sleep 1"], check=True)
        wait(lambda: {second, last} <= {*jobs("PENDING")} and not jobs("COMPLETING"))
        os.kill(int(Path(state, "slurmctld.pid").read_text()), signal.SIGTERM)
        wait(lambda: "Slurm does not answer" in said.read_text())
        subprocess.run(["setsid", "slurmctld"], check=True, stdin=subprocess.DEVNULL)
        gate.unlink()
        wait(lambda: takes_jobs("one"))
        assert process.wait(600) == 0, said.read_text()[-6000:]
    finally:
        gate.unlink(missing_ok=True)
        process.kill()
        process.wait(30)
        takes_jobs("one")
        subprocess.run(["scancel", "--user", str(os.getuid())], check=False)

    here = eight_box("here")
    here.play(last="confirm")
    assert box.state() == here.state()
    finished = Counter(event["key"] for event in box.events("run_finished"))
    assert max(finished.values()) == 1, "a finished run was repeated"
    assert sorted(finished) == here.runs()
    assert not box.events("failed")
