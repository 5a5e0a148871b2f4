"""``ratchet report`` of sessions: without Snakemake, finished or not, and the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

from helpers.boxes import Box
from helpers.commands import Capsys
from ratchet.cli.report import main
from ratchet.records.paths import SessionPaths

CONFIG = ["--config", "task=tasks/fake", "rounds=3", "budget_steps=5"]


def test_a_finished_sessions_report_is_found_and_made_again(
    finished: Box, tmp_path: Path, capsys: Capsys
) -> None:
    options = ["--root", str(finished.path), *CONFIG]
    own = finished.session / "report.html"
    assert main(["default", *options]) == 0
    assert capsys.readouterr().out == f"{own}\n"
    page = tmp_path / "night.html"
    assert main(["-o", str(page), *options]) == 0
    assert page.read_bytes() == own.read_bytes()
    assert capsys.readouterr().out.endswith(f"{page}\n")
    # A session's page is a report of ours too, yet it is sealed.
    assert main(["-o", str(own), "--force", *options]) == 74
    assert "are sealed" in capsys.readouterr().err
    assert page.read_bytes() == own.read_bytes()


def test_an_unfinished_session_has_a_report_of_its_rounds(
    finished: Box, tmp_path: Path, capsys: Capsys
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(finished.path, root, symlinks=True)
    paths = SessionPaths("default", root)
    for path in (paths.confirmation, paths.report_html, paths.round(3).steer):
        path.unlink()
    options = ["--root", str(root), *CONFIG]
    assert main(options) == 66
    assert "ratchet report default -o report.html" in capsys.readouterr().err
    page = tmp_path / "so-far.html"
    assert main(["-o", str(page), *options]) == 0
    assert capsys.readouterr().out.startswith("Unfinished after 2 rounds: ")
    assert '<tr id="e2">' in page.read_text() and '<tr id="e3">' not in page.read_text()
    assert main(["nobody", *options]) == 66
