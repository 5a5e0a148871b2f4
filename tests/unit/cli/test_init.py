"""The command `ratchet init`: what it finds, asks, refuses and writes."""

import io
import json
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from helpers import REPO, load_task
from helpers.autojudge_logs import call
from helpers.commands import Capsys, Patch
from helpers.repositories import state
from helpers.standins import make_standin, notebook
from ratchet.base.structs import replace
from ratchet.cli import init_runs
from ratchet.cli.init import _choices
from ratchet.cli.init_runs import Asking, Draft, Probe
from ratchet.task.discover import Folder
from ratchet.task.task import Seeding

SCRIPT = """import random
LR = 0.1
random.seed(3)
print("val_loss", random.random())
print("score:", 1 - LR)
"""
BARE = ("--config", "isolation=none")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Patch) -> Path:
    """The user's folder, where the commands are typed."""
    place = tmp_path / "my script"
    place.mkdir()
    (place / "train.py").write_text(SCRIPT)
    monkeypatch.chdir(place)
    return place


def init(folder: Path, *words: str) -> int:
    (folder.parent / "root").mkdir(exist_ok=True)
    return call("ratchet init", "--root", str(folder.parent / "root"), *words, *BARE)


def written(folder: Path) -> dict[str, object]:
    values: dict[str, object] = yaml.safe_load((folder / "task.yaml").read_text())
    return values


def test_a_script_alone_becomes_a_task_and_nothing_else_changes(
    tmp_path: Path, capsys: Capsys, monkeypatch: Patch
) -> None:
    folder = make_standin("yaml", tmp_path / "repo")
    before = state(folder)
    monkeypatch.chdir(folder)
    assert init(folder, "--yes") == 0
    out, err = capsys.readouterr()
    assert err.count("running python run.py --config configs/base.yaml with seed") == 2
    assert "metric        eval/reward, higher is better: 0.28" in out
    assert "seed          constant seed: 0.28" in out
    assert all(len(line) <= 80 for line in out.splitlines() if not line.startswith("  cd"))
    last = out.splitlines()[-1].split()
    assert last[:3] == ["cd", str(tmp_path / "root"), "&&"]
    assert last[3].endswith("snakemake")
    assert last[-4:] == ["--config", f"task={folder}", "session=repo", "isolation=none"]
    task = load_task(folder)
    assert task.mutable == ("run.py", "configs/base.yaml")
    assert (task.fixed, task.seeding) == (("data/target.txt",), Seeding(constant="seed"))
    assert (task.budget_steps, task.budget_fixed, task.timeout_seconds) == (20, True, 60)
    assert task.constraints[0].words.startswith("cpu_seconds at most 5.")
    assert [each.name for each in task.search_space] == ["model.noise", "optimizer.lr"]
    brief = (folder / "program.md").read_text()
    assert "`eval/reward`: higher is better" in brief
    assert "The code sets that budget itself" in brief
    after = state(folder)
    assert {k: after[k] for k in before if k != "status"} == {
        k: v for k, v in before.items() if k != "status"
    }
    assert set(after) - set(before) == {"task.yaml", "program.md"}
    assert not list((tmp_path / "root").iterdir())


def test_the_task_that_is_there_is_kept_unless_forced(folder: Path, capsys: Capsys) -> None:
    (folder / "task.yaml").write_text("mine: 1\n")
    assert init(folder, "--yes") == 64
    assert "exists; start a session of it with: cd" in capsys.readouterr().err
    assert init(folder, "--yes", "--force", "--seed", "hook", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["task"] == str(folder / "task.yaml")
    assert {"command", "metric", "seed", "python"} <= {each["what"] for each in found["found"]}
    assert written(folder)["metric"] == {
        "name": "val_loss",
        "direction": "minimize",
        "pattern": r"\bval_loss\s+([^\s,;|/)}\]]+)",
    }


def test_options_come_before_what_is_found(folder: Path) -> None:
    words = ["--command", f"{sys.executable} train.py a && true", "--metric", "score"]
    words += ["--direction", "minimize", "--mutable", "train.py", "--budget-steps", "7"]
    (folder / "program.md").write_text("# Mine\n\nRaise the score.\n")
    assert init(folder, *words, "--session", "night") == 0
    values = written(folder)
    assert values["command"] == ["sh", "-c", f"{sys.executable} train.py a && true"]
    assert values["metric"] == {"name": "score", "direction": "minimize"}
    assert values["budget"] == {"steps": 7, "fixed": True}
    # A hook moves the seed, which this number does not know.
    assert values["seed"] == "environment"
    assert (folder / "program.md").read_text().startswith("# Mine")


def test_code_that_reads_its_budget_is_given_one(folder: Path) -> None:
    names = "os.environ['RATCHET_BUDGET_SECONDS'] + os.environ['RATCHET_SEED']"
    (folder / "train.py").write_text(f"import os\nprint('val_loss:', {names})\n")
    assert init(folder, "--yes", "--budget-seconds", "0.25") == 0
    values = written(folder)
    assert (values["budget"], values["seed"]) == ({"seconds": 0.25}, "environment")
    assert "constraints" not in values


def test_a_terminal_is_asked(folder: Path, capsys: Capsys, monkeypatch: Patch) -> None:
    (folder / "run.py").write_text(SCRIPT)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("3\n2\n'\nno.py\n\n2\nup\nmaximize\n"))
    assert init(folder, "--seed", "hook") == 0
    err = capsys.readouterr().err
    assert "  2  python run.py  (the file's name)" in err
    assert "which command trains, 1 to 2 [1]: which command trains" in err
    assert "as a shell reads them" in err and "has no file no.py" in err
    assert "expected minimize or maximize" in err
    values = written(folder)
    assert (values["command"], values["mutable"]) == (["python", "run.py"], ["run.py"])
    assert values["metric"] == {"name": "score", "direction": "maximize"}
    (folder / "task.yaml").unlink()
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    assert init(folder) == 64
    assert "the answers ended; add --yes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words", "code", "said"),
    [
        ("print('x: 1')", [], 64, "--command, --mutable, --metric, --direction"),
        (
            "print('loss: 1')",
            ["--yes", "--command", "'"],
            64,
            "--command: expected words as a shell",
        ),
        ("print('loss: 1')", ["--yes", "--metric", "acc"], 64, "prints ('loss'), found 'acc'"),
        ("print('loss: 1')", ["--yes", "--mutable", "no.py"], 66, "no.py: expected a file"),
        ("print('loss: 1')", ["--yes", "--command", "make all"], 64, "names no source of"),
        ("print('loss: 1')", ["--yes", "--python", "no"], 64, "found nothing to run at"),
        ("print('loss: 1')", ["--yes", "--command", "no-one train.py"], 64, "no program 'no-one'"),
        ("print('loss: 1')", ["--yes", "--seed", "{flag: -s}"], 64, "seed: unknown key 'flag'"),
        ("print('loss: 1')", ["--yes", "--fixed", "../x"], 64, "expected a relative path"),
        ("import no_such", ["--yes"], 65, "Name the environment that has no_such with --python"),
        ("import sys; sys.argv[1]", ["--yes"], 65, "--command 'python train.py ARGUMENTS'"),
        ("open('x.csv')", ["--yes"], 65, "Make its data in "),
        ("print('thing: 1')", ["--yes"], 64, "which way is better; add --direction"),
        ("print('hello')", ["--yes"], 65, "printed no number with a name"),
        ("print('out'); raise SystemExit(3)", ["--yes"], 65, "ended with status 3"),
        ("import time; time.sleep(60)", ["--yes", "--seconds", "0.3"], 65, "allow more with"),
    ],
)
def test_what_cannot_be_told_says_what_to_type(
    folder: Path, capsys: Capsys, text: str, words: list[str], code: int, said: str
) -> None:
    (folder / "train.py").write_text(text)
    assert init(folder, *words) == code
    assert said in capsys.readouterr().err
    assert not (folder / "task.yaml").exists()
    assert not (folder / "program.md").exists()


def test_no_script_and_no_folder(folder: Path, capsys: Capsys) -> None:
    assert init(folder, "nowhere", "--yes") == 66
    assert init(folder, "--yes", "train.py") == 64
    said = capsys.readouterr().err
    assert "ratchet init . --command 'python train.py'" in said
    assert init(folder, "--yes", "--session", "a b") == 64
    assert call("ratchet init", "--yes", "--root", "nowhere") == 66
    assert "--root: " in capsys.readouterr().err
    (folder / "train.py").rename(folder / "notes.txt")
    assert init(folder, "--yes") == 64
    assert "no command that trains stands in README.md" in capsys.readouterr().err


def test_a_folder_whose_name_is_a_number_has_a_session_that_is_text(
    folder: Path, capsys: Capsys
) -> None:
    place = folder.rename(folder.parent / "2024 #1")
    assert init(place, "--yes", str(place), "--session", "2024") == 0
    line = capsys.readouterr().out.splitlines()[-1]
    told = dict(word.split("=", 1) for word in shlex.split(line) if word.startswith(("t", "ses")))
    assert told["session"].strip('"') == "2024-1"
    assert yaml.safe_load(told["task"]) == str(place)


def test_files_that_no_text_names_are_taken_where_it_fails_without(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "values-7.txt").write_text("0.5")
    (folder / "train.py").write_text(
        "n = 7\nprint('loss:', float(open(f'deep/values-{n}.txt').read()))\n"
    )
    assert init(folder, "--yes") == 0
    assert written(folder)["fixed"] == ["deep/values-7.txt"]
    assert init(folder, "--yes", "--force", "--fixed", "deep/") == 0
    assert written(folder)["fixed"] == ["deep/"]


def test_large_folders_are_mounted(folder: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr("ratchet.cli.init.COPIED_BYTES", 10)
    (folder / "data").mkdir()
    (folder / "data" / "x.txt").write_text("0.25" + " " * 20)
    (folder / "train.py").write_text("print('loss:', float(open('data/x.txt').read()))\n")
    assert init(folder, "--yes") == 0
    values = written(folder)
    assert (values["cache"], values.get("fixed")) == (["data"], None)
    assert load_task(folder).clone == folder


def test_a_notebook_is_mutable(folder: Path) -> None:
    (folder / "train.py").rename(folder / "unused.txt")
    text = notebook("rate = 0.5\n", "%time\nprint(f'accuracy: {rate}')")
    (folder / "model.ipynb").write_text(text)
    assert init(folder, "--yes") == 0
    assert written(folder)["mutable"] == ["model.ipynb"]


def test_the_network_is_open_where_a_run_wants_it_and_the_user_agrees(
    folder: Path, monkeypatch: Patch, capsys: Capsys
) -> None:
    (folder / "train.py").write_text(
        "import os\nif not os.environ.get('OPEN'):\n    raise SystemExit('URLError: no')\n"
        "print('loss: 1')\n"
    )
    run = Probe.run

    def opened(self: Probe, draft: object, seed: int) -> object:
        if draft.values.get("network"):  # type: ignore[attr-defined]
            draft = draft.having(variables={"OPEN": "1"})  # type: ignore[attr-defined]
        return run(self, draft, seed)  # type: ignore[arg-type]

    monkeypatch.setattr(Probe, "run", opened)
    assert init(folder, "--yes", "--seed", "hook") == 0
    assert written(folder)["network"] is True
    out, err = capsys.readouterr()
    assert "its runs have the network from now on" in err
    assert "network       open to all runs, which could send what they read" in out
    (folder / "task.yaml").unlink()
    told = io.StringIO("n\n")
    told.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", told)
    assert (
        init(folder, "--seed", "hook", "--mutable", "train.py", "--command", "python train.py")
        == 65
    )
    assert "fetch what it reads into" in capsys.readouterr().err


def test_interpreters_of_the_folder_and_the_shell_are_known(
    folder: Path, monkeypatch: Patch
) -> None:
    for name in (".venv", "other"):
        (folder / name / "bin").mkdir(parents=True)
        (folder / name / "bin" / "python").touch(0o755)
    monkeypatch.setenv("VIRTUAL_ENV", str(folder / "other"))
    monkeypatch.setenv("PATH", f"{folder / 'other' / 'bin'}")
    found = [(each.value, each.where) for each in _choices(folder)]
    assert found[:3] == [
        (".venv", ".venv in the folder"),
        (str(folder / "other"), "$VIRTUAL_ENV"),
        (None, "Ratchet's own"),
    ]
    assert found[3:] == [(str(folder / "other/bin/python"), "python of this shell")]


def test_a_gpu_is_used_where_there_is_one_and_the_code_speaks_of_it(
    folder: Path, monkeypatch: Patch
) -> None:
    gpu = SimpleNamespace(name="NVIDIA H100")
    draft = Draft(Folder.read(folder), {"mutable": ["train.py"]})
    probe = Probe(SimpleNamespace(), Asking(True), None, REPO, folder, lambda draft: draft)
    for gpus, text, device in (([gpu], "cuda", "gpu"), ([], "cuda", None), ([gpu], "", None)):
        monkeypatch.setattr(init_runs, "visible_gpus", lambda *_, gpus=gpus: gpus)
        told = replace(draft, folder=replace(draft.folder, texts={"train.py": text}))
        assert probe._device(told).values.get("device") == device


@pytest.mark.parametrize("code", [0, 1])
def test_a_project_of_uv_gets_its_environment(
    folder: Path, monkeypatch: Patch, capsys: Capsys, code: int
) -> None:
    (folder / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\n')
    (folder / "train.py").write_text("import nothing_like_it\nprint('loss: 1')\n")
    uv = folder.parent / "bin" / "uv"
    uv.parent.mkdir()
    python = "import sys, venv; venv.create('.venv', symlinks=True)\n"
    python += "from pathlib import Path\n"
    python += "p, = Path('.venv').glob('lib/*/site-packages')\n"
    python += "(p / 'nothing_like_it.py').write_text('')\n"
    uv.write_text(f"#!{sys.executable}\nassert __import__('sys').argv[1:] == ['sync']\n{python}")
    uv.write_text(uv.read_text() + f"sys.exit({code})\n")
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{uv.parent}:/usr/bin:/bin")
    assert init(folder, "--yes", "--seed", "hook") == (65 if code else 0)
    out, err = capsys.readouterr()
    assert "making the environment: uv sync" in err
    assert ("made now by uv sync" in out) is (code == 0)
    if not code:
        assert written(folder)["python"] == ".venv"
        done = subprocess.run([folder / ".venv/bin/python", "-c", "import nothing_like_it"])
        assert done.returncode == 0


def test_the_help_fits_and_names_the_exit_codes(capsys: Capsys) -> None:
    assert call("ratchet init", "--help") == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
    assert "ratchet init" in (REPO / "docs" / "your-repository.md").read_text()
