"""The skill's scripts in a checkout of Ratchet and in a clone of upstream, from setup to report."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from helpers import FAKE, REPO
from helpers.boxes import SNAKEMAKE, git
from helpers.repositories import make_cache, make_clone, state
from ratchet.cli.skill import SKILL, install

SETTINGS = {
    **{"task": "tasks/fake", "budget_steps": 5, "confirm_replicates": 2, "certify": False},
    **{"proposer": "declared", "seeds": "public"},
}
EXPERIMENTS = 3


@dataclass
class Workplace:
    """Folder in which an agent works, the file that it edits, and where results are."""

    folder: Path
    scripts: Path
    edited: Path
    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    setup: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    def run(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        programs = str(Path(SNAKEMAKE).parent)
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            [str(self.scripts / f"{name}.sh"), *words, *self.settings],
            cwd=self.folder,
            env={**os.environ, "PATH": path, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def edit(self, old: str, new: str) -> None:
        text = self.edited.read_text()
        assert old in text
        self.edited.write_text(text.replace(old, new))


def checkout(folder: Path) -> Workplace:
    """What a session needs of this checkout, with the tests' task as the configured one."""
    for name in ("rules", "config", "profiles", "envs", "tasks", "workflow_scripts"):
        shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("data"))
    shutil.copy(REPO / "Snakefile", folder)
    shutil.copytree(FAKE, folder / "tasks/fake")
    path = folder / "config/config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **SETTINGS}))
    git(folder, "init", "-q")
    install(folder / ".claude/skills" / SKILL, force=False)
    scripts = folder / ".claude/skills" / SKILL / "scripts"
    return Workplace(folder, scripts, folder / "tasks/fake/train.py", folder)


def clone(folder: Path) -> Workplace:
    """A stand-in for a clone of upstream, on a CPU, with the skill in its user's home."""
    home = folder / "home"
    make_cache(home)
    made = make_clone(folder / "auto research")
    install(home / ".claude/skills" / SKILL, force=False)
    definition = yaml.safe_load((REPO / "tasks/autoresearch/upstream.yaml").read_text())
    definition |= {"device": "cpu", "budget": {"steps": 5, "fixed": True}, "constraints": []}
    (folder / "cpu.yaml").write_text(yaml.safe_dump(definition))
    return Workplace(
        made,
        home / ".claude/skills" / SKILL / "scripts",
        made / "train.py",
        folder / "auto research-ratchet",
        {"HOME": str(home)},
        ("--definition", "../cpu.yaml"),
        ("certify=false", "confirm_replicates=2"),
    )


@pytest.mark.parametrize("make", [checkout, clone])
def test_an_agent_gets_from_the_setup_to_a_report(make, tmp_path: Path) -> None:
    place: Workplace = make(tmp_path / "a place")
    source = place.edited.read_text()
    before = state(place.folder) if make is clone else {}
    early = place.run("show-results")
    assert early.returncode == (0 if make is clone else 66)
    assert "a1b2c3d" not in early.stdout + early.stderr
    no_baseline = place.run("run-experiment", "-m", "why", "--max", "2")
    assert no_baseline.returncode == 66
    assert "setup.sh --baseline" in no_baseline.stderr

    ready = place.run("setup", *place.setup, "--baseline")
    assert ready.returncode == 0, ready.stdout + ready.stderr
    assert (place.root / "results/default/baseline.json").is_file()

    place.edit("DEPTH = 8 " if make is clone else "RATE = 0.1", "raise SystemExit(1)  # ")
    crashed = place.run("run-experiment", "--message", "a crash", "--max", "2")
    assert crashed.returncode == 1, crashed.stdout + crashed.stderr
    assert crashed.stdout.startswith("CRASH")
    assert place.edited.read_text() == source

    old, new = ("DEPTH = 8 ", "DEPTH = 9 ") if make is clone else ("RATE = 0.1", "RATE = 0.4")
    place.edit(old, new)
    kept = place.run("run-experiment", "--message", "much better", "--max", "2", "--json")
    assert kept.returncode == 0, kept.stdout + kept.stderr
    assert json.loads(kept.stdout)["kept"]
    assert place.edited.read_text() == source.replace(old, new)

    place.edit(new, old)
    bound = place.run("run-experiment", "--message", "one too many", "--max", "2")
    assert bound.returncode == 3
    assert "2 of at most 2" in bound.stderr
    place.edit(old, new)

    loop = place.run("run-loop", "--max", str(EXPERIMENTS), "--proposer", "declared")
    assert loop.returncode == 0, loop.stderr
    assert (place.root / "results/default/report.html").is_file()
    shown = place.run("show-results", "--top", "1")
    assert shown.returncode == 0, shown.stderr
    assert f"report: {place.root}/results/default/report.html" in shown.stdout
    found = json.loads(place.run("show-results", "--json").stdout)
    assert found["experiments"][0]["metric"] == min(one["metric"] for one in found["experiments"])
    rows = (place.root / "results/default/results.tsv").read_text().splitlines()
    assert len(rows) == 2 + EXPERIMENTS  # names, and the baseline

    if make is checkout:
        # It goes on in a session of its own, which the bound counts too.
        place.edit(new, "RATE = 0.8")
        after = place.run("run-experiment", "--message", "after the report", "--max", "4")
        assert after.returncode <= 2, after.stderr
        assert (place.root / "results/default-2/baseline.json").is_file()
        assert place.run("run-experiment", "--message", "more", "--max", "4").returncode == 3

    place.settings = ()
    assert json.loads(place.run("check-hardware").stdout)["processors"] > 0

    if make is clone:
        place.edit(new, old)
        changed = {
            name
            for name, was in state(place.folder).items()
            if was[0] != before.get(name, ("",))[0] and name != "status"
        }
        assert not changed
