"""The last step of building an image."""

from __future__ import annotations

import grp
import json
import os
from pathlib import Path

import pytest

from helpers import REPO
from helpers.commands import Capsys, Patch
from ratchet.base.io import digest_file
from ratchet.runs.sandbox import container
from ratchet.runs.sandbox.container import check_image, held_locks
from ratchet.task.environment import package_paths

OWN_GROUP = grp.getgrgid(os.getgid()).gr_name


def test_what_the_image_holds_is_written_down(tmp_path: Path, monkeypatch: Patch) -> None:
    package = tmp_path / "packages" / "docutils"
    (package / "parsers").mkdir(parents=True)
    (package / "parsers" / "a.py").write_text("x")
    monkeypatch.setattr(
        container, "package_paths", lambda names, _: [package] if "docutils" in names else []
    )
    monkeypatch.chdir(REPO)
    output = tmp_path / "image.json"
    words = ["--base", "debian@sha256:1", "--revision", "abc", "--group", OWN_GROUP]
    words += ["--environments", str(tmp_path)]
    task = str(REPO / "tasks/bytelm/task.yaml")
    assert check_image([*words, "--output", str(output), task]) == 0
    facts = json.loads(output.read_text())
    assert (facts["base"], facts["revision"]) == ("debian@sha256:1", "abc")
    assert facts["hidden"] == ["docutils", "networkx"]
    assert digest_file(Path("envs/bytelm.lock")) in facts["locks"]
    for path in (package, package / "parsers", package / "parsers" / "a.py"):
        assert path.stat().st_mode & 0o007 == 0


def test_what_is_hidden_is_closed_in_the_tasks_own_environments_too(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    packages = tmp_path / ".venv-own" / "lib" / "python3.11" / "site-packages"
    hidden, seen = packages / "networkx" / "a.py", packages / "numpy" / "a.py"
    for path in (hidden, seen):
        path.parent.mkdir(parents=True)
        path.write_text("x")
    task = tmp_path / "task.yaml"
    task.write_text("hidden: [networkx]\n")
    words = ["--base", "b", "--revision", "r", "--group", OWN_GROUP]
    more = ["--environments", str(tmp_path), "--output", str(tmp_path / "image.json")]

    def within(names: list[str], prefixes: list[str]) -> list[Path]:
        """Without what is installed for this test itself."""
        return [p for p in found(names, prefixes) if p.is_relative_to(tmp_path)]

    found = package_paths
    monkeypatch.setattr(container, "package_paths", within)
    assert check_image([*words, *more, str(task)]) == 0
    assert hidden.stat().st_mode & 0o007 == 0
    assert seen.stat().st_mode & 0o004


def test_a_lock_that_is_not_installed_is_not_named(tmp_path: Path) -> None:
    missing, held = tmp_path / "a.lock", tmp_path / "b.lock"
    missing.write_text("no-such-package==1.0\n")
    held.write_text((REPO / "envs/bytelm.lock").read_text())
    assert held_locks([missing, held]) == [digest_file(held)]


@pytest.mark.parametrize("text", ["hidden: docutils", "[1, 2", "- a list"])
def test_what_is_no_task_is_refused(tmp_path: Path, text: str, capsys: Capsys) -> None:
    task = tmp_path / "task.yaml"
    task.write_text(text)
    words = ["--base", "b", "--revision", "r", "--group", OWN_GROUP, "--output", "x", str(task)]
    assert check_image(words) == 65
    assert str(task) in capsys.readouterr().err
