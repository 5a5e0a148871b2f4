"""The commands that run an experiment again: whole lines that a shell understands."""

from __future__ import annotations

import shlex
import subprocess
import sys

from ratchet.base.structs import replace
from ratchet.report.facts import run_again_commands, run_again_preparation
from ratchet.report.inputs import Recipe
from ratchet.task.task import Seeding

ODD = Recipe(
    folder="results/it's mine",
    command=("python", "train me.py", "$(touch owned)"),
    data={"train.bin": "store/a b", "deep/val.bin": "store/c"},
    variables={"RATCHET_BUDGET_STEPS": "7", "NOTE": "two words; touch owned"},
)
EXPERIMENT = {"number": 3, "commit": "c" * 40, "runs": [{"seed": 5}, {"seed": 6}]}


def test_commands_quote_what_is_odd():
    show, run = run_again_commands(ODD, EXPERIMENT)
    assert shlex.split(show) == [
        "git", "-C", "results/it's mine", "show", "refs/ratchet/experiments/0003",
    ]  # fmt: skip
    assert run == "again 0003 5"
    assert run_again_commands(ODD, {**EXPERIMENT, "commit": None}) == []
    assert len(run_again_commands(ODD, {**EXPERIMENT, "runs": []})) == 1


def test_they_work_in_a_shell(tmp_path):
    """With a repository, data and a command that says what it was given."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a b").write_text("train")
    (tmp_path / "store" / "c").write_text("val")
    repository = tmp_path / "results" / "it's mine"
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    (repository / "train me.py").write_text(
        "import os, sys; e = os.environ; print(e['RATCHET_SEED'], e['NOTE'], sys.argv[1:], "
        "open(e['RATCHET_DATA'] + '/deep/val.bin').read(), e['RATCHET_BUDGET_STEPS'])"
    )
    git = ["git", "-C", str(repository), "-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    ref = "refs/ratchet/experiments/0003"
    subprocess.run([*git, "update-ref", ref, "HEAD"], check=True)
    lines = [*run_again_preparation(ODD), *run_again_commands(ODD, EXPERIMENT)[1:], "echo done"]
    script = "\n".join(["set -e", f'python() {{ {shlex.quote(sys.executable)} "$@"; }}', *lines])
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "5 two words; touch owned ['$(touch owned)'] val 7\ndone\n"
    assert (tmp_path / "again/data/train.bin").read_text() == "train"
    assert not list(tmp_path.rglob("owned"))


def test_the_seed_hook_is_named_by_the_package():
    hooked = Recipe("results/x", ("python",), hook=True)
    lines = run_again_preparation(hooked)
    assert lines[0] == "mkdir -p again/data" and "ratchet.runs.seed_hook" in lines[-2]


def test_the_seed_reaches_the_code_as_the_task_says():
    def line(seeding):
        found = run_again_preparation(replace(ODD, seeding=seeding))
        return "\n".join(found[-2:])

    assert line(Seeding(argument="--seed={seed}")).endswith(' --seed="$2"); }')
    assert line(Seeding(argument="my seed={seed}!")).endswith(" 'my seed='\"$2\"'!'); }")
    assert '  export MY_SEED="$2"' in line(Seeding(variable="MY_SEED"))
    assert "sets SEED to the seed" in line(Seeding(constant="SEED"))
