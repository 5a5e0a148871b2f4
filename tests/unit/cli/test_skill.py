"""The skill and `ratchet skill`: public rules, installation, and what its scripts refuse."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from helpers import GPT, load_task
from helpers.autojudge_logs import HEADER, call, row
from helpers.clones import Clone
from helpers.commands import Capsys, Patch
from ratchet.cli import skill
from ratchet.cli.skill import SKILL, SOURCE, TARGETS, install, shipped_files
from ratchet.task.presets import choose_preset

SCRIPTS = ("setup", "run-experiment", "run-loop", "show-results", "check-hardware")
MODES = 5
# Of the public format (agentskills.io/specification).
KEYS = {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}
MOST_NAME, MOST_DESCRIPTION, MOST_COMPATIBILITY, MOST_LINES = 64, 1024, 500, 500
BIN = Path(sys.executable).parent


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    folder = tmp_path / "skills of mine" / SKILL
    install(folder, force=False)
    return folder


def run(script: Path, *words: str, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    """A script called as an agent calls it, with Ratchet's programs on the PATH."""
    return subprocess.run(
        [str(script), *words],
        cwd=cwd,
        env={**os.environ, "PATH": f"{path or BIN}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_front_matter_keeps_the_public_rules(installed: Path) -> None:
    text = (installed / "SKILL.md").read_text()
    opened, front, body = text.split("---\n", 2)
    values = yaml.safe_load(front)
    assert opened == ""
    assert set(values) <= KEYS
    assert values["name"] == installed.name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", values["name"])
    assert len(values["name"]) <= MOST_NAME
    assert 0 < len(values["description"]) <= MOST_DESCRIPTION
    assert not re.search("[<>]", front)
    assert 0 < len(values["compatibility"]) <= MOST_COMPATIBILITY
    assert len(body.splitlines()) < MOST_LINES


def test_links_lead_to_files_of_the_skill_and_to_all_of_them(installed: Path) -> None:
    pages = [installed / "SKILL.md", *(installed / "references").iterdir()]
    linked = {
        (page.parent / target.split("#")[0]).resolve()
        for page in pages
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    }
    assert linked == set(pages) - {pages[0]}


def test_scripts_that_are_named_are_there_and_can_be_executed(installed: Path) -> None:
    text = "".join(page.read_text() for page in installed.rglob("*.md"))
    named = set(re.findall(r"([a-z-]+)\.sh\b", text))
    assert named == set(SCRIPTS)
    for folder in (installed, SOURCE):
        assert all(os.access(folder / "scripts" / f"{name}.sh", os.X_OK) for name in SCRIPTS)


def test_exactly_five_modes_are_routed_to_and_described() -> None:
    routed = re.findall(r"\| (\d) ([a-z.]+ [a-z ]+) \|", (SOURCE / "SKILL.md").read_text())
    described = re.findall(r"^## (\d) (.+)$", (SOURCE / "references/modes.md").read_text(), re.M)
    assert [number for number, _ in described] == [str(n + 1) for n in range(MODES)]
    assert [(number, name.lower()) for number, name in described] == routed


def test_a_project_gets_the_whole_skill_and_a_second_call_writes_nothing(
    tmp_path: Path, monkeypatch: Patch, capsys: Capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("ratchet skill install") == 0
    printed = capsys.readouterr()
    folder = tmp_path / ".claude" / "skills" / SKILL
    assert printed.out == f".claude/skills/{SKILL}\n"
    assert f"wrote {len(shipped_files())} files" in printed.err
    assert "start claude and say" in printed.err
    for name, path in shipped_files().items():
        assert (folder / name).read_bytes() == path.read_bytes()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert call("ratchet skill install --target claude") == 0
    assert "up to date" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_changed_file_is_replaced_by_force_alone_and_nothing_is_written_before(
    installed: Path, capsys: Capsys
) -> None:
    changed, lost = installed / "SKILL.md", installed / "scripts/setup.sh"
    changed.write_text("my own\n")
    lost.unlink()
    where = f"ratchet skill install --dir '{installed.parent}'"
    assert call(where) == 64
    told = capsys.readouterr().err
    assert "SKILL.md" in told
    assert "--force" in told
    assert changed.read_text() == "my own\n"
    assert not lost.exists()
    assert call(where + " --force") == 0
    assert changed.read_bytes() == (SOURCE / "SKILL.md").read_bytes()
    assert os.access(lost, os.X_OK)


def test_a_new_version_replaces_what_was_installed_without_force(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    older = Path(shutil.copytree(SOURCE, tmp_path / "older"))
    (older / "SKILL.md").write_text("an earlier version\n")
    folder = tmp_path / SKILL
    with monkeypatch.context() as earlier:
        earlier.setattr(skill, "SOURCE", older)
        install(folder, force=False)
    notes = folder / "notes.md"
    notes.write_text("the user's own\n")
    assert install(folder, force=False) == 1
    assert (folder / "SKILL.md").read_bytes() == (SOURCE / "SKILL.md").read_bytes()
    assert notes.exists()
    assert install(folder, force=False) == 0


@pytest.mark.parametrize("target", TARGETS)
def test_every_tool_has_its_folder_in_a_project_and_in_the_home(
    target: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    project, home, moved = tmp_path / "project", tmp_path / "home", tmp_path / "moved"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setenv("HOME", str(home))
    folders = TARGETS[target]
    if folders.variable:
        monkeypatch.delenv(folders.variable, raising=False)
    call("ratchet skill install --target", target)
    call("ratchet skill install --user --target", target)
    assert (project / folders.project / SKILL / "SKILL.md").is_file()
    assert (home / folders.user / SKILL / "SKILL.md").is_file()
    if folders.variable:
        monkeypatch.setenv(folders.variable, str(moved))
        call("ratchet skill install --user --target", target)
        assert (moved / folders.below_variable / SKILL / "SKILL.md").is_file()


def test_a_tool_without_skills_gets_the_text(
    tmp_path: Path, monkeypatch: Patch, capsys: Capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("ratchet skill install --print") == 0
    printed = capsys.readouterr()
    assert printed.out == (SOURCE / "SKILL.md").read_text()
    assert str(SOURCE) in printed.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_explain_themselves_and_refuse_what_they_do_not_know(
    name: str, installed: Path, tmp_path: Path
) -> None:
    script = installed / "scripts" / f"{name}.sh"
    shown = run(script, "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert shown.stdout.startswith(f"Usage: {name}.sh")
    assert "Exit status: 0" in shown.stdout
    assert "set -euo pipefail" not in shown.stdout
    refused = run(script, "--unknown", cwd=tmp_path)
    assert refused.returncode == 64
    assert refused.stderr.startswith(f"{name}.sh: expected")


def test_a_loop_without_a_bound_is_refused(installed: Path, tmp_path: Path) -> None:
    script = installed / "scripts/run-loop.sh"
    for words in ((), ("--max",), ("--max", "0"), ("--max", "many"), ("--max", "3", "rounds=9")):
        refused = run(script, *words, cwd=tmp_path)
        assert refused.returncode == 64, words
        assert "--max" in refused.stderr


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name != "check-hardware"])
def test_scripts_say_where_they_work(name: str, installed: Path, tmp_path: Path) -> None:
    words = {"run-experiment": ("-m", "why"), "run-loop": ("--max", "1")}.get(name, ())
    script = installed / "scripts" / f"{name}.sh"
    nowhere = run(script, *words, cwd=tmp_path)
    assert nowhere.returncode == 66
    assert "train.py" in nowhere.stderr
    # A proposer of a session that has the skill must not begin another one.
    for file in ("train.py", "program.md", "BRIEF.md", "TRIED.tsv"):
        (tmp_path / file).write_text("")
    proposal = run(script, *words, cwd=tmp_path)
    assert proposal.returncode == 64
    assert "proposal.json" in proposal.stderr
    assert not tmp_path.with_name(f"{tmp_path.name}-ratchet").exists()


def test_without_ratchet_scripts_say_how_to_get_it(installed: Path, tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone")
    clone.commit({"train.py": "", "program.md": ""})
    missing = subprocess.run(
        [str(installed / "scripts/setup.sh")],
        cwd=clone.folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert missing.returncode == 66
    assert "RATCHET_HARNESS" in missing.stderr


@pytest.mark.parametrize("prepared", [False, True])
def test_what_a_clone_lacks_is_made_on_request_alone(
    prepared: bool, installed: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    clone = Clone(tmp_path / "a clone")
    clone.commit({"train.py": "", "prepare.py": "", "program.md": "", "uv.lock": "version = 1"})
    programs, home = tmp_path / "programs", tmp_path / "home"
    programs.mkdir()
    (programs / "uv").write_text('#!/bin/sh\necho "$PWD: $*" >>"$HOME/uv.log"\n')
    (programs / "uv").chmod(0o755)
    (home / (".cache/autoresearch" if prepared else "")).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    path, script = f"{programs}{os.pathsep}{BIN}", installed / "scripts/setup.sh"
    looked = run(script, cwd=clone.folder, path=path)
    assert looked.returncode == 1  # it has no environment
    assert not re.search("sync|prepare", called(home))
    run(script, "--install", cwd=clone.folder, path=path)
    assert f"{clone.folder}: sync\n" in called(home)
    assert (f"{clone.folder}: run prepare.py\n" in called(home)) != prepared


def called(home: Path) -> str:
    log = home / "uv.log"
    return log.read_text() if log.exists() else ""


def test_a_log_is_judged_and_its_text_is_cleaned(installed: Path, tmp_path: Path) -> None:
    log = tmp_path / "a log.tsv"
    rows = (row(0, 0.9, "keep", "baseline"), row(1, 0.8, "keep", "red \x1b[31m ink"))
    log.write_text("".join((HEADER, *rows, row(2, "0.000000", "crash"))))
    script = installed / "scripts/show-results.sh"
    shown = run(script, "--results", str(log), "--top", "1", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "ink" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "baseline" not in shown.stdout
    found = json.loads(run(script, "--results", str(log), "--json", cwd=tmp_path).stdout)
    assert [one["value"] for one in found["rows"]] == [0.8, 0.9]
    missing = run(script, "--results", "no.tsv", cwd=tmp_path)
    assert missing.returncode == 66


@pytest.fixture
def hardware(installed: Path, tmp_path: Path) -> Callable[[str], dict]:
    """What check-hardware.sh prints where nvidia-smi prints some lines."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "nvidia-smi").write_text('#!/bin/sh\ncat "$0.txt"\n')
    (programs / "nvidia-smi").chmod(0o755)

    def printed(lines: str) -> dict:
        (programs / "nvidia-smi.txt").write_text(lines)
        script = installed / "scripts/check-hardware.sh"
        return json.loads(run(script, cwd=tmp_path, path=str(programs)).stdout)

    return printed


@pytest.mark.parametrize(
    "mebibytes", [143771, 81559, 49140, 40960, 24564, 23034, 16380, 12288, 8192, 6144]
)
def test_the_preset_is_that_which_auto_takes(mebibytes: int, hardware: Callable) -> None:
    found = hardware(f"NVIDIA RTX, {mebibytes}, 3, 550.1\n")
    chosen = choose_preset("auto", load_task(GPT).presets, mebibytes * 2**20 / 1e9, "tasks/gpt")
    assert chosen is not None
    assert found["preset"] == chosen.name


def test_several_gpus_are_described_and_the_smallest_counts(hardware: Callable) -> None:
    found = hardware(
        'NVIDIA "H100" \\ 80GB, 81559, 10, 550.1\nNVIDIA GeForce RTX 4090, 24564, [N/A], 550.1\n'
    )
    assert found["accelerator"] == "cuda"
    assert [gpu["name"] for gpu in found["gpus"]] == [
        'NVIDIA "H100" \\ 80GB',
        "NVIDIA GeForce RTX 4090",
    ]
    assert [gpu["used_mb"] for gpu in found["gpus"]] == [10, None]
    assert (found["preset"], found["definition"]) == ("gpu-24gb", "rtx")
    assert found["device_batch_size"] == 32
    tiny = hardware("Old, 2048, 0, 1.0\n")
    assert (tiny["preset"], tiny["device_batch_size"]) == (None, None)


def test_the_table_of_memory_is_that_of_the_script() -> None:
    script = (SOURCE / "scripts/check-hardware.sh").read_text()
    fits = re.findall(r"(?m)^(?:fits=')?(\d+) (gpu-\d+gb) (\d+|null)'?$", script)
    page = (SOURCE / "references/hardware.md").read_text()
    table = re.findall(r"(?m)^\| (\d+) \| `(gpu-\d+gb)` \| (\d+|smaller)", page)
    assert len(table) > 5
    assert [(gb, preset, rows.replace("smaller", "null")) for gb, preset, rows in table] == fits
