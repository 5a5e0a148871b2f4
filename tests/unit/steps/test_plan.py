"""What parsing the Snakefile decides: settings, ownership, digests of code, needs of a training."""

import ast
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from snakemake.cli import parse_config as parse_snakemake_config

from helpers import BYTELM, FAKE, REPO
from ratchet.base.errors import ConfigError, SessionBusyError
from ratchet.base.structs import replace
from ratchet.config import read_config
from ratchet.integrity.seal import begin_workflow, finish_workflow
from ratchet.mirror.sender import MirrorSender
from ratchet.records.ownership import owns_session, take_sessions
from ratchet.steps import plan
from ratchet.steps.plan import (
    DEFAULT_MEMORY_MB,
    HARNESS_MEMORY_MB,
    Needs,
    WorkflowPlan,
    _own,
    _owner,
    _part,
    code_digest,
    config_file,
    imported_modules,
    load_plan,
    make_plan,
    mirror_finished,
    mirror_session,
    plain,
)

SETTINGS = {"task": str(FAKE)}


def planned(root: Path, **settings: object) -> WorkflowPlan:
    return make_plan({**SETTINGS, **settings}, root, REPO, owner=False)


def own_config(root: Path, rounds: int) -> Path:
    """A configuration file of the working folder with another number of rounds."""
    shutil.copytree(REPO / "config", root / "config")
    path = root / "config" / "config.yaml"
    path.write_text(path.read_text().replace("rounds: 12", f"rounds: {rounds}"))
    return path


def test_a_plan_is_made_without_touching_the_disk(tmp_path: Path) -> None:
    made = planned(tmp_path, target="null")
    assert made.config.target is None, "null on the command line is null"
    assert json.loads(made.environment["RATCHET_CONFIG"])["session"] == "default"
    assert Path(made.environment["RATCHET_STEP"]).is_file()
    assert not list(tmp_path.iterdir())


def test_the_end_of_a_tournament_sends_its_competitors_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = planned(tmp_path, session="cup", mirror="m", strategies=["conservative", "random"])
    asked = list[tuple[str, bool]]()

    def ask(sender: MirrorSender, last: bool) -> None:
        assert sender.config.session == sender.paths.session
        asked.append((sender.paths.session, last))

    monkeypatch.setattr(MirrorSender, "ask", ask)
    for name in ("cup", "cup.conservative", "cup.random"):
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "manifest.json").touch()
    mirror_session(made, done=True)
    assert asked == [("cup", True)], "an ordinary session has no competitors"
    (tmp_path / "results" / "cup" / "evolve").mkdir()
    (tmp_path / "results" / "cup.random" / "manifest.json").unlink()
    mirror_session(made, done=True)
    assert asked[1:] == [("cup", True), ("cup.conservative", True)]


def test_a_finished_session_gets_the_mirror_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Snakemake has nothing to do then, and would end without a word."""
    made, asked = planned(tmp_path, mirror="m"), list[bool]()
    monkeypatch.setattr(MirrorSender, "ask", lambda _, last: asked.append(last))
    made.paths.folder.mkdir(parents=True)
    made.paths.manifest.touch()
    mirror_finished(made)
    assert not asked, "it runs"
    begin_workflow(made.paths)
    mirror_finished(made)
    assert not asked, "it was stopped"
    finish_workflow(made.paths)
    mirror_finished(made)
    assert asked == [True]


def test_the_working_folders_own_settings_count(tmp_path: Path) -> None:
    path = own_config(tmp_path, rounds=5)
    assert planned(tmp_path).config.rounds == 5
    assert planned(tmp_path, rounds=7).config.rounds == 7
    # What stands in the file is not named as given.
    path.write_text(path.read_text().replace("rounds: 5", "rounds: 0"))
    written = read_config(path)
    for overrides, where in ((written, str(path)), ({**written, "seed": 2}, f"{path}, --config")):
        with pytest.raises(ConfigError, match=re.escape(f"{where}: rounds: expected at least 1")):
            make_plan(overrides, tmp_path, REPO, owner=False)


def test_a_session_begins_with_constants_that_exist(tmp_path: Path) -> None:
    task = Path(shutil.copytree(FAKE, tmp_path / "fake"))
    code = (task / "train.py").read_text()
    (task / "train.py").write_text(code.replace("RATE = 0.1", "LEARNING_RATE = 0.1"))
    with pytest.raises(ConfigError, match=r"task\.yaml: search_space: RATE: expected a constant"):
        planned(tmp_path, task=str(task))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("false", False),
        ("3e-4", 3e-4),
        ("-1E5", -1e5),
        ("e5", "e5"),
        ("3e-4x", "3e-4x"),
        (4, 4),
    ],
)
def test_what_snakemake_leaves_as_text(text: object, value: object) -> None:
    assert plain({"key": text}) == {"key": value}


@pytest.mark.parametrize("devices", [[0, 1], ["GPU-5f0c", 2]])
def test_gpus_are_named_as_in_the_documents(devices: list[object], tmp_path: Path) -> None:
    words = f"devices=[{', '.join(map(str, devices))}]"
    given = plain(parse_snakemake_config([words]))
    assert given == {"devices": devices}
    assert planned(tmp_path, **given).config.devices == devices


def test_the_configuration_file_that_counts(tmp_path: Path, capsys) -> None:
    assert config_file(tmp_path, REPO) == str(REPO / "config/config.yaml")
    own = tmp_path / "config" / "config.yaml"
    own.parent.mkdir()
    own.write_text("rounds: 3\n")
    assert config_file(tmp_path, REPO) == str(own)
    own.write_text("rounds: 3\nseed: [1\n")
    with pytest.raises(SystemExit) as caught:
        config_file(tmp_path, REPO)
    assert caught.value.code == 64
    assert capsys.readouterr().err.startswith(f"ratchet: {own}:3:1: is not valid YAML")


def test_a_refusal_is_one_message_and_an_exit_code(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        load_plan({**SETTINGS, "rounds": 0}, tmp_path, REPO, owner=True)
    assert caught.value.code == 64
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_new_owner_removes_what_the_dead_left(tmp_path: Path) -> None:
    paths = replace(planned(tmp_path).paths, root=tmp_path)
    left = paths.repository / "HEAD.lock"
    left.parent.mkdir(parents=True)
    left.touch()
    (handle,) = take_sessions(tmp_path, paths.session)
    with pytest.raises(SessionBusyError, match=f"process {os.getpid()}, session {paths.session}"):
        _own(paths)
    assert left.exists(), "whoever is refused removes nothing"
    os.close(handle)
    (beside,) = take_sessions(tmp_path, "other")
    _own(paths, [{"name": "bold"}])
    assert not left.exists()
    assert owns_session(tmp_path, f"{paths.session}.bold"), "a tournament has its competitors"
    for each in (beside, *_owner):
        os.close(each)
    _owner.clear()


@pytest.mark.parametrize(
    ("change", "judges"),
    [
        ({"mode": "strict"}, True),
        ({"line_price": 0}, True),
        ({"memory_price": 0.1}, True),
        ({"remeasure_every": 3}, True),
        ({"max_replicates": 4}, True),
        ({"rounds": 13}, False),
        ({"target": 1.0}, False),
    ],
)
def test_only_what_a_verdict_depends_on_judges_again(
    tmp_path: Path, change: dict, judges: bool
) -> None:
    before, after = planned(tmp_path).judge_digest, planned(tmp_path, **change).judge_digest
    assert (before != after) is judges


PACKAGE = REPO / "workflow_scripts" / "ratchet"


def parsed(source: str) -> set[str]:
    """Modules of ratchet that a source imports, by Python's own parser, which is slow."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ratchet"):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {str(node.module)} - {"ratchet"}
        elif isinstance(node, ast.Import):
            names |= {a.name for a in node.names if a.name.startswith("ratchet.")}
    return names


def test_imports_are_read_as_python_reads_them() -> None:
    sources = {path: path.read_text() for path in PACKAGE.rglob("*.py")}
    assert len(sources) > 100
    # What the package does not do today.
    sources[Path("other")] = "import os\nimport ratchet.a\nif x:\n\tfrom ratchet.a import b\n"
    for path, source in sources.items():
        assert set(imported_modules(source)) == parsed(source), path


def test_the_digest_follows_imports_and_files_beside_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "__file__", str(tmp_path / "steps" / "plan.py"))
    rules, style = tmp_path / "judge" / "rules.py", tmp_path / "pages" / "page.css"
    rule, page = tmp_path / "steps" / "rule.py", tmp_path / "pages" / "page.py"
    for path in (rules, style, rule, page):
        path.parent.mkdir(exist_ok=True)
        path.write_text("from ratchet.judge import rules\n" if path is rule else "")

    def digests() -> tuple[str, str]:
        code_digest.cache_clear()
        _part.cache_clear()
        return code_digest("ratchet.steps.rule"), code_digest("ratchet.pages.page")

    before = digests()
    assert before == digests()
    rules.write_text("# new\n")
    after = digests()
    assert (before[0] != after[0], before[1] == after[1]) == (True, True)
    style.write_text("p {}\n")
    assert digests()[0] == after[0]
    assert digests()[1] != after[1]


def test_the_judge_rests_on_its_core_and_not_on_the_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan, "digest", set)
    covered = code_digest.__wrapped__
    found = covered("ratchet.steps.judge")
    assert {"judge/judge.py", "judge/effects.py", "steps/judge.py", "records/records.py"} <= found
    others = ("report/", "runs/", "proposers/", "monitor/", "steps/steer")
    assert not any(name.startswith(others) for name in found)
    page = covered("ratchet.report.session_report")
    assert {"report/render.py", "report/facts.py", "report/figures.py"} <= page


GPU = Needs(device="gpu", threads=4, timeout_seconds=540.0)
CPU = Needs(device="cpu", threads=2, timeout_seconds=540.0)


def names(files: list[str]) -> list[str]:
    return ["/".join(Path(file).parts[-2:]) for file in files]


def test_what_is_asked_ahead_needs_an_earlier_state_and_what_came_since(tmp_path: Path) -> None:
    agent = {"proposer": "custom", "agent_command": ["true"], "candidates": 2}

    def needed(number: int, lookahead: int | None) -> list[str]:
        made = planned(tmp_path, lookahead=lookahead, **agent)
        return names([made.proposed_before_asking(number), *made.known_when_asking(number)])

    assert needed(1, None) == ["default/manifest.json"], "while the baseline trains"
    assert needed(2, None) == ["0001/proposals.json", "0000/steer.json"]
    assert needed(5, 1) == ["0004/proposals.json", "0003/steer.json"]
    assert needed(5, 0) == ["0004/proposals.json", "0004/steer.json"]
    drafts = ["0004/asked-0.json", "0004/asked-1.json"]
    assert needed(5, 2) == ["0003/proposals.json", "0002/steer.json", *drafts]
    assert needed(2, 2) == ["default/manifest.json", "0001/asked-0.json", "0001/asked-1.json"]
    asked = planned(tmp_path, **agent).asked(3)
    assert names(asked) == ["0003/asked-0.json", "0003/asked-1.json"]
    assert planned(tmp_path).asked(3) == [], "nobody is asked where all proposers are built in"


def test_here_a_training_is_one_of_so_many_and_elsewhere_asks_for_what_it_uses() -> None:
    asked = [
        (one.gpus(elsewhere=far), one.cores(elsewhere=far))
        for one in (GPU, CPU)
        for far in (False, True)
    ]
    assert asked == [(1, 0), (1, 4), (1, 0), (0, 2)]


def test_time_grows_with_runs_and_attempts() -> None:
    assert [CPU.minutes(runs) for runs in (0, 1, 3)] == [5, 15, 35]
    assert CPU.minutes(3, attempt=2) == 70
    assert replace(CPU, guard_seconds=60.0).minutes(3) == 36
    assert CPU.prepare_minutes(attempt=2) == 2 * CPU.prepare_minutes() > 60


def test_memory_is_the_tasks_limit_and_room_for_the_harness() -> None:
    assert CPU.memory_mb == DEFAULT_MEMORY_MB
    assert Needs(limit_mb=3000).memory_mb == 3000 + HARNESS_MEMORY_MB


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"transfer": {"budget_seconds": 3}}, "found its own: {'budget_seconds': 3}"),
        ({"transfer": {"preset": "default"}, "preset": "default"}, "found its own"),
        ({"transfer": {"preset": "gpu"}}, "task.yaml (cpu-tiny, default), found 'gpu'"),
    ],
)
def test_a_scale_that_the_task_does_not_have_is_refused(
    tmp_path: Path, settings: dict, words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        planned(tmp_path, task=str(BYTELM), **settings)


def test_runs_at_another_scale_ask_for_their_own_time_and_nothing_else_depends_on_it(
    tmp_path: Path,
) -> None:
    bare = planned(tmp_path, task=str(BYTELM))
    # As Snakemake reads it from its command line.
    longer = planned(tmp_path, task=str(BYTELM), transfer={"budget_seconds": "9.0"})
    assert longer.config.transfer == {"budget_seconds": 9.0}
    assert longer.needs == bare.needs == bare.transfer_needs
    assert longer.transfer_needs.timeout_seconds == 3 * bare.needs.timeout_seconds
    same = ("judge_digest", "steer_digest", "certify_digest", "confirm_digest", "report_digest")
    assert all(getattr(bare, name) == getattr(longer, name) for name in same)
    assert bare.transfer_digest != longer.transfer_digest
    assert bare.config.limits_token == longer.config.limits_token
