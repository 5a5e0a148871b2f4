"""A baseline that fails: its cause in its own last words, and a next command that works."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from helpers import REPO, player
from helpers.boxes import DEFAULTS, Box, git
from helpers.commands import Patch, workflow_words
from helpers.edits import fail_until_mended
from helpers.repositories import make_cache, make_clone, make_environment
from ratchet.base.errors import ConfigError, InputMissingError, RatchetError
from ratchet.cli import doctor
from ratchet.steps.plan import make_plan

SHORT = {"rounds": 1, "confirm_replicates": 1, "isolation": "none", "baseline_replicates": 2}


def follow(box: Box, said: str, which: int = 0, last: str = "baseline") -> str:
    """Play the session that a message says to start; only what it names is given."""
    words = workflow_words(said, which)
    settings = dict(word.split("=", 1) for word in words[words.index("--config") + 1 :])
    with player.inside(box.path, box.environment):
        own = player.Player(box.harness, settings)
        assert own.session(last=last) == 0, own.said.getvalue()
    return settings["session"]


KERNEL = 'raise RuntimeError("CUDA error: no kernel image is available\\nCompile with DSA")'
DATA = 'open("/data/tiny/shard_00000.bin")'
CHAIN = f"try:\n    {DATA}\nexcept OSError as e:\n    raise RuntimeError('cannot start') from e"
FAILURES = [
    (KERNEL, "the GPU's driver: RuntimeError: CUDA error: no kernel image", "nvidia-smi"),
    ("import einops", "a package that is missing: ModuleNotFoundError", "`python`"),
    (CHAIN, "data that are missing: FileNotFoundError", "/data/tiny/shard_00000.bin is missing"),
    ("raise SystemExit(0)", "a metric that was not printed", "correct `metric` in task.yaml"),
    ("1 / 0", "its own code: ZeroDivisionError: division by zero", "Mend train.py. Then"),
]


@pytest.mark.parametrize(("how", "cause", "advice"), FAILURES)
def test_a_failed_baseline_says_its_cause_and_a_command_that_works(
    box: Box, how: str, cause: str, advice: str
) -> None:
    mended = fail_until_mended(box, how)
    said = box.play(check=False, last="baseline", **SHORT)
    assert box.status == 65
    assert "the baseline of task fake does not train" in said
    assert cause in said and advice in said
    assert ("Mend train.py" in said) is ("its own code" in said)
    assert "Traceback" not in said
    (log,) = re.findall(r"all that it printed is in (\S+)\)", said)
    assert (box.path / log).is_file()
    assert (box.path / "made").read_text() == "x", "no replicate follows a crash"
    assert box.runs() == [], "a failure that may be mended is kept nowhere"
    mended.touch()
    name = follow(box, said)
    assert (box.path / "results" / name / "baseline.json").is_file()


def test_a_time_limit_that_is_too_short_is_doubled(box: Box) -> None:
    fail_until_mended(box, "import time\ntime.sleep(1.1)")
    said = box.play(check=False, last="baseline", timeout_seconds=1, **SHORT)
    assert "the cause is the time limit: stopped after 1 s" in said
    assert workflow_words(said)[-1] == "timeout_seconds=2"
    follow(box, said)


def test_a_package_that_an_environment_lacks(box: Box) -> None:
    own = make_environment(box.path / "own")
    fail_until_mended(box, "import einops.layers")
    definition = box.path / "tasks" / "fake" / "task.yaml"
    definition.write_text(definition.read_text().replace("python, -S, train", "python, train"))
    said = box.play(check=False, last="baseline", python="own", **SHORT)
    assert f"uv pip install --python {own}/bin/python einops. Then start another" in said
    (packages,) = own.glob("lib/python*/site-packages")
    (packages / "einops").mkdir()
    (packages / "einops" / "layers.py").touch()
    assert follow(box, said) == "default-2"


def test_code_for_another_platform(box: Box) -> None:
    fail_until_mended(
        box, 'raise RuntimeError("This script requires macOS with Metal. Detected: linux")'
    )
    said = box.play(check=False, last="baseline", **SHORT)
    assert "the cause is the platform: RuntimeError: This script requires macOS" in said
    pairs = dict(word.split("=", 1) for word in workflow_words(said)[4:] if "=" in word)
    with player.inside(box.path, {}):
        made = make_plan(player._parsed(pairs), Path(), REPO, owner=False)
    assert (made.config.session, made.config.task) == ("default-2", "tasks/bytelm")


def test_a_session_goes_on_by_its_name_and_what_is_frozen_must_agree(box: Box) -> None:
    box.play(session="mine", last="rounds", candidates=2, **SHORT)
    runs = box.runs()
    with player.inside(box.path, {}):

        def again(**settings: object) -> player.Player:
            own = player.Player(REPO, {"session": "mine", **settings})
            own.status = own.session(last="rounds")
            return own

        assert again().status == 0
        assert box.runs() == runs
        assert again(rounds=2).status == 0
        assert again().status == 0
        assert (box.path / "results/mine/rounds/0002/verdict.json").is_file()
        refused = again(candidates=3)
        assert refused.status == 65
        said = refused.said.getvalue()
        assert "configuration key candidates: expected 2, found 3" in said
        made = make_plan({"session": "mine"}, Path(), REPO, owner=False).config
        assert (made.task, made.rounds, made.candidates) == ("tasks/fake", 2, 2)
    follow(box, said)  # its own settings
    assert follow(box, said, which=-1) == "mine-2"


UV = """#!/bin/sh
echo "$@" >> {log}
case "$1" in
  sync) sed -i s/1.4/1.5/ "$3"/.venv/lib/python*/site-packages/Made_Up-1.5.dist-info/METADATA ;;
  run) mkdir -p "$HOME/.cache/autoresearch/data" "$HOME/.cache/autoresearch/tokenizer"
       printf 0.5 > "$HOME/.cache/autoresearch/data/shard_00000.txt"
       printf 0.25 > "$HOME/.cache/autoresearch/tokenizer/tokenizer.txt" ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: Patch) -> Iterator[Path]:
    """Somebody's clone with older packages and no data, and a stand-in for uv."""
    made = make_clone(tmp_path / "a clone")
    (told,) = made.glob(".venv/lib/python*/site-packages/*/METADATA")
    told.write_text(told.read_text().replace("1.5", "1.4"))
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(UV.format(log=shlex.quote(str(tmp_path / "uv.log"))))
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{uv.parent}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    player.ask_interpreter.cache_clear()
    yield made
    player.ask_interpreter.cache_clear()


def refusal(task: dict[str, str], **settings: object) -> RatchetError:
    with pytest.raises(RatchetError) as caught:
        make_plan({"task": task, **settings}, Path(), REPO, owner=False)
    assert not Path("results").exists()
    return caught.value


def test_all_that_a_clone_lacks_is_said_at_once_in_the_order_of_mending(clone: Path) -> None:
    task = {"repo": str(clone)}
    error = refusal(task, budget_seconds=5)
    budget, packages, cache = map(str, error.faults)
    assert "fixes its budget itself" in budget
    assert "made-up: expected 1.5, found 1.4" in packages
    assert "expected the folder that runs read" in cache
    assert str(error).startswith("3 things are to be mended, in this order:\n  1. budget_seconds")
    for fault in (packages, cache):  # each ends with its command
        command = re.split(r"; (?:install them with|run): ", fault)[-1]
        assert command.startswith("uv ") and str(clone) in command
        subprocess.run(command, shell=True, check=True)
        player.ask_interpreter.cache_clear()
    assert make_plan({"task": task}, Path(), REPO, owner=False).config.task == task


def test_doctor_says_the_same_and_ends_with_the_command(clone: Path, capsys) -> None:
    task = f"task={{repo: {shlex.quote(str(clone))}}}"
    assert doctor.main(["--config", task, "rounds=0", "session=mine"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    places = [said.index(word) for word in ("rounds: expected at least 1", "made-up:", "`cache`")]
    assert places == sorted(places)
    order = said.partition("in this order:")[2]
    todo = [order.index(f"{name}: ") for name in ("config", "packages", "cache")]
    assert todo == sorted(todo)
    assert f"uv sync --project '{clone}'" in order


def test_a_repository_that_is_not_upstreams_is_not_sent_to_its_preparation(clone: Path) -> None:
    (clone / "prepare.py").write_text("print('writes data/ beside itself')\n")
    git(clone, "commit", "--quiet", "--all", "--message", "mine")
    said = str(refusal({"repo": str(clone)}))
    assert "uv run" not in said
    assert "it is not laid out as" in said and "docs/your-repository.md" in said
    git(clone, "rm", "--quiet", "prepare.py", "uv.lock", "program.md")
    git(clone, "commit", "--quiet", "--message", "other")
    files, lock = map(str, refusal({"repo": str(clone)}).faults)
    assert "names the files prepare.py, program.md, which are not in" in files
    assert "expected the lock uv.lock" in lock


def test_a_definition_says_what_it_needs_of_the_machine(clone: Path) -> None:
    make_cache(clone.parent / "home")
    subprocess.run(["uv", "sync", "--project", str(clone)], check=True)
    said = str(refusal({"repo": str(clone), "definition": "macos"}))
    assert "macos.yaml: needs Metal" in said and "Apple silicon" in said
    words = workflow_words(said)
    given = {k: yaml.safe_load(v) for k, v in (word.split("=", 1) for word in words[6:])}
    assert make_plan(given, Path(), REPO, owner=False).config.task["definition"] == "upstream"


def test_a_tasks_own_faults_are_named_together(box: Box) -> None:
    path = box.path / "tasks" / "fake" / "task.yaml"
    data = yaml.safe_load(path.read_text())
    data["search_space"][0]["constant"] = "RAET"
    data["presets"] = {"big": {"constants": {"WIDHT": 4}}}
    data["guard"] = ["no-such-tool", "prepare.py"]
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError) as caught, player.inside(box.path, {}):
        make_plan({**DEFAULTS, "python": "nowhere"}, Path(), REPO, owner=False)
    said = str(caught.value)
    assert "search_space: RAET" in said and "did you mean RATE?" in said
    assert "found nothing to run at" in said
    data["brief"], data["data"] = "missing.md", {"evaluation": ["x"], "visible": []}
    path.write_text(yaml.safe_dump(data))
    with pytest.raises((ConfigError, InputMissingError)) as caught, player.inside(box.path, {}):
        make_plan({**DEFAULTS, "rounds": 0}, Path(), REPO, owner=False)
    assert ["rounds: expected" in (s := str(f)) or "evaluator" in s or "missing.md" in s
            for f in caught.value.faults] == [True] * 3  # fmt: skip
