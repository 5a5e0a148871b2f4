"""``ratchet program`` on a session that has run: the next version, and a new one."""

from __future__ import annotations

from pathlib import Path

from helpers.boxes import Box
from helpers.commands import Capsys
from ratchet.cli.program import main
from ratchet.cli.sessions import session_of
from ratchet.proposers.program_md import next_version
from ratchet.records.history import History

CONFIG = ["--config", "task=tasks/fake", "rounds=3", "budget_steps=5"]


def test_the_next_version_says_what_the_session_found(copy: Box, capsys: Capsys) -> None:
    folder = copy.path / "tasks" / "fake"
    root = ["--root", str(copy.path)]
    frozen = (folder / "program.md").read_bytes()
    before = copy.state()
    assert main(["update", *root, *CONFIG]) == 0
    said = capsys.readouterr().err
    written = folder / "program-v2.md"
    assert f"wrote {written}" in said
    assert "`brief: program-v2.md`" in said
    text = written.read_text()
    assert "### Session `default`" in text
    assert "3 experiments" in text
    descriptions = [row.split("\t")[4] for row in _rows(copy)[2:]]
    assert len(descriptions) == 3
    assert all(description in text for description in descriptions)
    assert "confirmed a gain of" in text
    assert "## What to try next" in text
    assert (folder / "program.md").read_bytes() == frozen
    assert copy.state() == before

    # The same session gives the same text, here and as a function.
    session = session_of(None, copy.path, CONFIG[1:])
    assert next_version(session, History.read(session.paths)) == text
    assert main(["update", *root, *CONFIG]) == 0
    assert "holds this version already" in capsys.readouterr().err
    assert not (folder / "program-v3.md").exists()
    # Somebody's own second version is left alone.
    written.write_text("mine\n")
    assert main(["update", "default", *root, *CONFIG]) == 0
    assert (folder / "program-v3.md").read_text() == text
    assert written.read_text() == "mine\n"
    assert main(["update", "--print", *root, *CONFIG]) == 0
    assert capsys.readouterr().out == text


def test_the_frozen_brief_is_never_written(copy: Box, capsys: Capsys) -> None:
    folder, root = copy.path / "tasks" / "fake", ["--root", str(copy.path)]
    brief = str(folder / "program.md")
    frozen = (folder / "program.md").read_bytes()
    assert main(["update", "--output", brief, "--force", *root, *CONFIG]) == 64
    assert "is the brief of the session and frozen" in capsys.readouterr().err
    for options in ([], ["--force"]):
        assert main(["new", *options, *root, *CONFIG]) == 64
        assert "it is frozen" in capsys.readouterr().err
    assert (folder / "program.md").read_bytes() == frozen


def test_a_new_one_knows_the_session_and_is_clean(
    copy: Box, capsys: Capsys, tmp_path: Path
) -> None:
    root, path = ["--root", str(copy.path)], tmp_path / "new.md"
    assert main(["new", "--output", str(path), *root, *CONFIG]) == 0
    text = path.read_text()
    assert "Session `default` measured `val_loss`" in text
    assert "The budget of each run is 5 steps of training" in text
    assert "3 experiments" in text
    assert main(["check", str(path), *root, *CONFIG]) == 0
    assert capsys.readouterr().out == ""
    assert main(["check", str(path), *root, *CONFIG, "memory_ceiling_mb=300"]) == 1
    assert "missing: expected the memory ceiling of 300 MiB" in capsys.readouterr().out


def _rows(box: Box) -> list[str]:
    return (box.session / "results.tsv").read_text().splitlines()
