"""The agent's folder: what is laid out, and what is read back without trust."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ratchet.base.errors import StoreError
from ratchet.proposers.agent_workspace import MOST_FILES, SOURCE_LIMIT_BYTES, Workplace

MUTABLE = {"train.py": b"A = 1\n", "lib/model.py": b"B = 2\n"}
GIVEN = {"prepare.py": b"C = 3\n", "BRIEF.md": b"# Brief\n"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    found = Workplace(tmp_path / "session")
    found.lay_out(MUTABLE, GIVEN, "do it")
    return found


def others(place: Workplace) -> tuple[str, ...]:
    return place.read(list(MUTABLE)).others


def test_the_folder_holds_what_was_given_in_a_repository_of_its_own(place: Workplace) -> None:
    assert place.prompt.read_text() == "do it"
    assert (place.work / "lib" / "model.py").read_bytes() == b"B = 2\n"
    assert place.root.stat().st_mode & 0o777 == 0o700
    (place.work / "train.py").write_text("A = 2\n")
    variables = {k: v for k, v in os.environ.items() if k != "GIT_DIR"}
    shown = subprocess.run(
        ["git", "diff", "--stat"], cwd=place.work, env=variables, capture_output=True, text=True
    )
    assert "train.py" in shown.stdout


def test_an_edit_and_a_proposal_are_all_that_is_read(place: Workplace) -> None:
    (place.work / "train.py").write_text("A = 2\n")
    (place.work / "proposal.json").write_text("{}")
    left = place.read(list(MUTABLE))
    assert left.contents == {"train.py": b"A = 2\n", "lib/model.py": b"B = 2\n"}
    assert (left.problems, left.proposal, left.others) == ((), b"{}", ())


def test_whatever_else_changed_is_named(place: Workplace) -> None:
    (place.work / "prepare.py").chmod(0o644)
    (place.work / "prepare.py").write_text("C = 4\n")
    (place.work / "BRIEF.md").unlink()
    (place.work / "new").mkdir()
    (place.work / "new" / "x.txt").write_text("")
    assert others(place) == ("BRIEF.md (removed)", "new/x.txt (added)", "prepare.py (changed)")


def test_caches_and_what_tools_keep_for_themselves_are_nothing(place: Workplace) -> None:
    for name in (
        "__pycache__/a.pyc",
        "lib/__pycache__/b",
        ".aider.tags/x",
        ".claude/settings.json",
    ):
        (place.work / name).parent.mkdir(parents=True, exist_ok=True)
        (place.work / name).write_text("")
    (place.work / "empty").mkdir()
    (place.work / ".git" / "junk").write_text("")
    assert others(place) == ()


def test_names_of_any_bytes_can_be_said(place: Workplace) -> None:
    (Path(os.fsdecode(os.fsencode(place.work) + b"/\xff\x1b[31m\n"))).write_text("")
    (found,) = others(place)
    assert found.encode().decode() == "? [31m (added)"


def test_links_are_not_followed(place: Workplace, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "model.py").write_text("secret\n")
    (place.work / "lib" / "model.py").unlink()
    (place.work / "lib").rmdir()
    (place.work / "lib").symlink_to(secret)
    (place.work / "train.py").unlink()
    (place.work / "train.py").symlink_to(secret / "model.py")
    left = place.read(list(MUTABLE))
    assert left.contents == {}
    assert left.problems == (
        "train.py is a link or lies behind one",
        "lib/model.py is a link or lies behind one",
    )
    assert left.others == ("lib (added)",)


def test_what_is_no_plain_text_file_is_a_problem(place: Workplace) -> None:
    (place.work / "train.py").unlink()
    os.mkfifo(place.work / "train.py")
    (place.work / "lib" / "model.py").write_bytes(b"\xff\xfe")
    (place.work / "proposal.json").write_bytes(b" " * (1 << 17))
    left = place.read(list(MUTABLE))
    assert left.problems == (
        "train.py is no plain file",
        "lib/model.py is not UTF-8 text (byte 0)",
        "proposal.json is larger than 65536 bytes",
    )
    (place.work / "lib" / "model.py").write_bytes(b"#" * (SOURCE_LIMIT_BYTES + 1))
    (place.work / "train.py").unlink()
    assert place.read(list(MUTABLE)).problems[:2] == (
        "train.py is gone",
        f"lib/model.py is larger than {SOURCE_LIMIT_BYTES} bytes",
    )


def test_floods_of_files_and_depths_of_folders_end(place: Workplace) -> None:
    deep = place.work
    for _ in range(1200):
        deep = deep / "d"
        try:
            deep.mkdir()
        except OSError:
            break
    assert others(place) == () or "closed folder" in others(place)[0]
    for number in range(MOST_FILES):
        (place.work / f"f{number}").touch()
    assert others(place) == (f"more than {MOST_FILES} files or folders (added)",)
    place.clear()  # nobody else could
    assert not place.root.exists()


def test_a_folder_that_is_gone_or_replaced_is_no_error(place: Workplace, tmp_path: Path) -> None:
    place.work.rename(tmp_path / "moved")
    left = place.read(list(MUTABLE))
    assert left.problems == ("train.py is gone", "lib/model.py is gone")
    place.work.symlink_to(tmp_path / "moved")
    left = place.read(list(MUTABLE))
    assert left.others == ("the folder itself (replaced)",)
    assert left.contents == {}


def test_clearing_takes_everything_along_but_nobody_elses(place: Workplace, tmp_path: Path) -> None:
    place.clear()
    place.clear()
    assert not place.root.exists()
    (tmp_path / "precious").mkdir()
    place.root.symlink_to(tmp_path / "precious")
    with pytest.raises(StoreError, match="belongs to somebody else"):
        place.lay_out(MUTABLE, GIVEN, "")
    assert (tmp_path / "precious").is_dir()
