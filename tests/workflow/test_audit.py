"""``ratchet audit --run``: a log's kept commits run again, through the workflow."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import FAKE
from helpers.boxes import DEFAULTS, Box, make_box
from helpers.clones import Clone
from helpers.commands import Capsys
from ratchet.cli import report, status, verify
from ratchet.cli.audit import main

SESSION = "audit-fake"


class Author:
    """Somebody's clone, and the log of what was kept in it; the noise of a run is 0.01."""

    def __init__(self, folder: Path) -> None:
        self.clone, self.log = Clone(folder / "clone"), folder / "results.tsv"
        self.text, self.rows = (FAKE / "train.py").read_text(), list[str]()

    def commit(self, said: str, value: float, old: str = "", new: str = "") -> None:
        """Commit an edit and log it as kept with a value that the author saw."""
        assert old in self.text
        self.text = self.text.replace(old, new)
        name = self.clone.commit({"train.py": self.text, "notes.txt": said})
        self.row(name[:7], value, "keep", said)

    def row(self, name: str, value: float, status: str, said: str) -> None:
        self.rows.append(f"{name}\t{value:.6f}\t0.1\t{status}\t{said}")
        head = "commit\tval_loss\tmemory_gb\tstatus\tdescription"
        self.log.write_text("\n".join([head, *self.rows]) + "\n")


@pytest.fixture
def author(tmp_path: Path) -> Author:
    """Two changes that help, one that was lucky, one that crashes, one whose commit is lost."""
    made = Author(tmp_path / "elsewhere")
    made.commit("baseline", 1.44)
    made.commit("a larger rate", 1.21, "RATE = 0.1", "RATE = 0.2")
    made.row("abcdef0", 1.30, "discard", "nothing")
    made.commit("lucky", 1.18, "numbers = sum", "loud = 1\nnumbers = sum")
    made.commit("wider", 1.12, "WIDTH = 1", "WIDTH = 3")
    made.commit("breaks", 1.11, 'BEHAVIOUR = "train"', 'BEHAVIOUR = "crash"')
    made.row("fffffff", 1.10, "keep", "lost")
    return made


def words(box: Box, author: Author, *more: str) -> list[str]:
    """What follows `ratchet audit` in a box."""
    settings = {**DEFAULTS, "isolation": "none"}
    task = str(settings.pop("task"))
    pairs = [f"{key}={value}" for key, value in settings.items()]
    given = ["--results", str(author.log), "--repo", str(author.clone.folder), "--session", SESSION]
    place = ["--task", task, "--root", str(box.path)]
    return [*given, *place, "--run", "--seeds", "3", *more, "--config", *pairs]


def test_what_holds_is_counted_whatever_happens_in_between(
    tmp_path: Path, author: Author, capfd: Capsys
) -> None:
    def call(command: Callable[[list[str]], int], *given: str) -> tuple[int, str, str]:
        return command(list(given)), *capfd.readouterr()

    box = make_box(tmp_path / "box")
    folder = box.path / "results" / SESSION

    # Only what would be done: nothing is there yet.
    code, out, told = call(main, *words(box, author, "--dry-run"))
    assert (code, out) == (0, "")
    assert "to run again: 4 of 5 kept changes, 3 seeds for each side; 15 runs of 5 codes" in told
    assert "line 8 (fffffff): cannot be run: its commit 'fffffff' is not in the" in told
    assert not folder.exists()

    # Killed in its midst with all that it started, the same command goes on.
    started = subprocess.Popen(
        [sys.executable, "-m", "ratchet.cli.main", "audit", *words(box, author)],
        env={**os.environ, "RATCHET_HARNESS": str(box.harness)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    box.wait_for(lambda: len(box.runs()) >= 4)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    box.wait_for(lambda: not box.trainers())
    before = {key: _made(box, key) for key in box.runs()}
    assert not (folder / "audit.json").exists()
    copy = tmp_path / "copy.html"
    code, out, err = call(main, *words(box, author, "--html", str(copy)))
    assert code == 1, err
    assert out.splitlines()[-2] == "2 of 5 kept changes hold; 1 does not; 2 could not be run"
    assert {key: _made(box, key) for key in before} == before

    # Each change stands as it is; both sides of it had the same seeds.
    found = json.loads((folder / "audit.json").read_text())
    stands = {c["description"]: c for c in found["reruns"]["changes"]}
    assert {name: c["standing"] for name, c in stands.items()} == {
        "a larger rate": "holds",
        "lucky": "does not hold",
        "wider": "holds",
        "breaks": "not run",
        "lost": "not run",
    }
    rate, lucky, breaks = (stands[name] for name in ("a larger rate", "lucky", "breaks"))
    assert rate["low"] < 0.2402 < rate["high"] and rate["given_runs"] > 0.95
    assert lucky["given_runs"] < 0.5 and lucky["parent_line"] == 3
    seeds = [[run["seed"] for run in rate[side]] for side in ("parent_runs", "child_runs")]
    assert seeds[0] == seeds[1] and len(set(seeds[0])) == 3
    assert "RuntimeError: boom" in breaks["reason"]
    # From the first incumbent to the last kept code that runs.
    whole = found["reruns"]["whole"]
    assert (whole["start"], whole["end"]) == (2, 6)
    assert whole["low"] < 0.35 < whole["high"]
    # The crash was found in the first turn, and nothing more was run for it.
    assert found["reruns"]["runs"] == 13 == len(box.runs())
    page = (folder / "audit.html").read_text()
    assert "2 of 5 kept changes hold" in page and "does not hold" in page
    assert copy.read_text() == page

    # Another call trains nothing, whatever it chooses.
    last = author.clone.git("rev-parse", "@~1")
    code, out, _ = call(main, *words(box, author, "--only", last))
    assert code == 0
    assert out.splitlines()[-1] == "1 of 1 kept change holds; 4 others not asked for"
    assert len(box.runs()) == 13

    # The rest of the commands know what this session is.
    place = ("--root", str(box.path))
    code, out, err = call(verify.main, *place)
    assert (code, out) == (0, "") and "intact" in err and "not sealed" not in err
    code, out, _ = call(status.main, SESSION, *place)
    assert code == 0 and "1 of 1 kept change holds" in out
    code, _, err = call(report.main, SESSION, *place)
    assert code == 66 and "found an audit" in err


def _made(box: Box, key: str) -> int:
    """When a run was published."""
    return (box.path / "store" / "runs" / key[:2] / key / "run.json").stat().st_mtime_ns
