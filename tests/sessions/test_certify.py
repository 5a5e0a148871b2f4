"""Certification of what a session kept."""

from pathlib import Path

from helpers import FAKE
from helpers.boxes import make_box
from helpers.edits import is_kept
from helpers.recorded import Recorded
from ratchet.cli.verify import main


def test_x(tmp_path: Path) -> None:
    box = make_box(tmp_path / "box", task="tasks/fake", rounds=12, certify=True)
    table = Recorded.load("fake", FAKE)
    box.backend, box.clock = table, table.clock
    box.play()
    print(sum(map(is_kept, box.rulings())))
    import json

    print(json.dumps(box.json("certify.json"), indent=1)[:3000])
    print(json.dumps(box.json("confirm.json")["contributions"], indent=1))
    print(main(["--root", str(box.path)]))
    raise SystemExit
