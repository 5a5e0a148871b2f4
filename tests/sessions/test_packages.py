"""Sessions whose task allows a package beside its lock, and one whose task does not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import REPO
from helpers.boxes import DEFAULTS, Box, make_box
from helpers.edits import alternative, declare
from helpers.shared import replayed
from helpers.wheels import wheel
from ratchet.cli import show
from ratchet.cli.sessions import session_of
from ratchet.integrity.verify import verify_sessions
from ratchet.proposers.program_md import contract_of, render_program
from ratchet.proposers.prompts import gather_brief, render_brief
from ratchet.records.history import History
from ratchet.task.packages import uv_program

pytestmark = pytest.mark.skipif(uv_program(REPO) is None, reason="needs uv, which make env sets up")
ALLOWED, OTHER = "import tinyops; shape = tinyops.SIZE", "import otherops; shape = 0.9"
FIXED = "packages are fixed; allow_packages in task.yaml allows others"


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A task whose edits import a package each; there are wheels of both."""
    for name in ("tinyops", "otherops"):
        wheel(tmp_path / "wheels", name, "1.0", code="SIZE = 0.9")
    found = make_box(tmp_path / "box", rounds=1, candidates=2, baseline_replicates=1)
    found.settings |= {"max_replicates": 1, "confirm_replicates": 1}
    found.environment |= {
        "UV_FIND_LINKS": str(tmp_path / "wheels"),
        "UV_NO_INDEX": "1",
        "UV_CACHE_DIR": str(tmp_path / "cache"),
    }
    declare(
        found,
        *(
            alternative(name, "other", "shape = 1.0", text)
            for name, text in (("allowed", ALLOWED), ("other", OTHER))
        ),
    )
    return found


def allow(box: Box, packages: str) -> None:
    path = box.path / "tasks" / "fake" / "task.yaml"
    path.write_text(f"{path.read_text()}\nallow_packages: {packages}\n")


def outcomes(box: Box) -> dict[str, dict]:
    made = box.json("rounds/0001/proposals.json")["proposals"]
    names = {p["number"]: p["edit"]["name"] for p in made}
    return {names[r["number"]]: r for r in box.rulings()}


def inputs(box: Box) -> list[dict]:
    return [
        json.loads(path.read_text())["inputs"] for path in box.path.glob("store/runs/*/*/run.json")
    ]


def test_an_allowed_package_can_be_imported_and_no_other(
    box: Box, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    allow(box, "[tinyops]")
    box.play()
    found = outcomes(box)
    assert found["allowed"]["runs"][0]["outcome"] == "ok"
    failed = found["other"]
    assert failed["runs"][0]["outcome"] == "import_error"
    assert (
        FIXED in failed["runs"][0]["reason"] and "named 'otherops'" in failed["runs"][0]["reason"]
    )
    sha = box.json("manifest.json")["allowed"]["sha256"]
    assert b"tinyops==1.0" in (box.path / "store/blobs/sha256" / sha[:2] / sha).read_bytes()
    assert {each["allowed_sha256"] for each in inputs(box)} == {sha}
    assert show.main([str(failed["number"]), "--root", str(box.path)]) == 0
    assert FIXED in " ".join(capsys.readouterr().out.split())
    values = {**DEFAULTS, **box.settings}
    session = session_of(None, box.path, [f"{key}={value}" for key, value in values.items()])
    brief = render_brief(gather_brief(session, History.read(session.paths)))
    assert "Packages are fixed; beside those of the lock there are: tinyops." in brief
    assert FIXED in brief
    program = render_program(contract_of(session.task, session.config, session.budget))
    assert "only what is installed may be imported, and tinyops." in program
    assert verify_sessions(box.path).deviations == []
    # The commands of the report run it again by hand.
    facts = box.json("report.json")
    commands = [e["commands"][-1] for e in facts["experiments"] if e["outcome"] == "ok"]
    done = subprocess.run(
        ["bash", "-c", "\n".join(["set -e", *facts["preparation"], commands[0]])],
        cwd=box.path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "val_loss:" in done.stdout, done.stderr
    replayed(box, tmp_path / "again")


def test_without_the_key_nothing_of_it_is_in_a_session(box: Box) -> None:
    box.play(last="rounds")
    assert {r["runs"][0]["outcome"] for r in box.rulings()} == {"import_error"}
    assert "allowed" not in box.json("manifest.json")
    assert all("allowed_sha256" not in each for each in inputs(box))
    assert not (box.path / "store" / "environments").exists()


def test_a_package_that_cannot_be_had_ends_the_session_before_it_trains(box: Box) -> None:
    allow(box, "[no-such-ops]")
    said = box.play(check=False)
    assert box.status == 64
    assert "allow_packages: no-such-ops cannot be had" in said
    assert "UV_NO_INDEX=1 UV_FIND_LINKS=FOLDER snakemake" in said
    assert not inputs(box) and not (box.session / "manifest.json").exists()
