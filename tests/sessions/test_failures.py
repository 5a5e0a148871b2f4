"""Failures that the machine may be to blame for: not replayed for ever, and said."""

import json
from pathlib import Path

import pytest

from helpers.boxes import DEFAULTS, Box, make_box
from helpers.edits import constant, declare
from helpers.shared import copied, shared_box
from ratchet.cli import runs, show
from ratchet.cli.sessions import session_of
from ratchet.integrity.verify import verify_sessions
from ratchet.proposers.prompts import gather_brief, render_brief
from ratchet.records.history import History

FAILURES = {
    "late": "time.sleep(3600)",
    "killed": "os.kill(os.getpid(), 9)",
    "missing": "open('/nowhere/else/numbers.txt')",
    "disk": "raise OSError(28, 'No space left on device')",
    "driver": "raise RuntimeError('Found no NVIDIA driver on your system.')",
    "shared": "raise MemoryError('CUDA out of memory. Process 7 has 60.00 GiB memory in use. '"
    "'This process has 1.00 GiB memory in use.')",
}
MINE = {"mine": "raise RuntimeError('boom')"}


def fail(box: Box, well: Path) -> None:
    """Let edits fail as long as the machine is not well, which a file says; one always does."""
    declare(box, constant("BEHAVIOUR", *FAILURES, *MINE))
    path = box.path / "tasks" / "fake" / "train.py"
    well_line = f"not os.path.exists({str(well)!r})"
    ways = "".join(
        f"if BEHAVIOUR == {name!r} and (BEHAVIOUR == 'mine' or {well_line}):\n    {what}\n"
        for name, what in {**FAILURES, **MINE}.items()
    )
    mark = 'if BEHAVIOUR == "crash":\n'
    path.write_text(path.read_text().replace(mark, ways + mark))


@shared_box
def failing(path: Path) -> Box:
    """A session whose edits all failed on a machine that was not well, and is by now."""
    box = make_box(
        path,
        rounds=1,
        candidates=len(FAILURES) + 1,
        baseline_replicates=1,
        max_replicates=1,
        confirm_replicates=1,
        timeout_seconds=2,
        isolation="none",
    )
    fail(box, path / "well")
    box.play()
    (path / "well").touch()
    return box


@pytest.fixture
def night(failing: Box, tmp_path: Path) -> Box:
    """A copy of that session, whose code looks for the file where it was."""
    return copied(failing, tmp_path / "copy")


def outcomes(box: Box) -> dict[str, str]:
    """How the first run of each edit ended, by its value."""
    made = box.json("rounds/0001/proposals.json")["proposals"]
    values = {p["number"]: p["edit"]["value"].strip("'") for p in made}
    return {values[r["number"]]: r["runs"][0]["outcome"] for r in box.rulings()}


def forget_experiments(box: Box) -> None:
    for path in (box.session / "rounds" / "0001").glob("experiment-*.json"):
        path.unlink()


def test_what_the_machine_may_be_to_blame_for_stays_a_fact_of_its_session(
    night: Box, capsys: pytest.CaptureFixture[str]
) -> None:
    state = night.state()
    assert set(outcomes(night)) == {*FAILURES, *MINE}
    assert "ok" not in outcomes(night).values()
    forget_experiments(night)
    night.play()
    assert night.state() == state
    assert night.events("run_replayed") == []
    page = (night.session / "report.html").read_text()
    assert page.count("(the machine may be to blame: ") == len(FAILURES)
    values = {**DEFAULTS, **night.settings}
    session = session_of(None, night.path, [f"{key}={value}" for key, value in values.items()])
    brief = render_brief(gather_brief(session, History.read(session.paths)))
    assert "the machine may be to blame (" in brief
    for ruling in night.rulings():
        assert show.main([str(ruling["number"]), "--root", str(night.path)]) == 0
        told = "--forcerun experiment" in " ".join(capsys.readouterr().out.split())
        assert told is ("Error: boom" not in ruling["reason"])


def test_another_session_runs_it_again_and_says_what_is_from_the_store(
    night: Box, capsys: pytest.CaptureFixture[str]
) -> None:
    before = night.runs()
    said = night.play(session="other")
    night.session.rename(night.path / "results" / "first")
    (night.path / "results" / "other").rename(night.session)
    assert outcomes(night) == {**dict.fromkeys(FAILURES, "ok"), "mine": "crash"}
    assert len(night.runs()) >= len(before) + len(FAILURES)
    replayed = {event["key"]: event for event in night.events("run_replayed")}
    assert sum(event["number"] != 0 for event in replayed.values()) == 1
    assert all(key in before for key in replayed)
    assert said.count("from the store, of ") == len(replayed)
    page = (night.session / "report.html").read_text()
    assert page.count("from the store, of 20") >= 1
    night.play()
    assert len(night.events("run_replayed")) == len(replayed), "said once"
    number = next(r["number"] for r in night.rulings() if "Error: boom" in r["reason"])
    assert show.main([str(number), "--root", str(night.path)]) == 0
    assert "from the store, of 20" in capsys.readouterr().out
    assert runs.main(["--root", str(night.path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["experiments"]
    assert {e["number"] for e in found if e["from_store"]} >= {0, number}
    assert runs.main(["--root", str(night.path)]) == 0
    assert " store " in capsys.readouterr().out.splitlines()[0]


def test_snakemake_runs_it_again_where_it_is_forced(night: Box) -> None:
    before = set(night.runs())
    late = next(
        path
        for path in (night.session / "rounds" / "0001").glob("experiment-*.json")
        if json.loads(path.read_text())["runs"][0]["outcome"] == "timeout"
    )
    # One target alone, since each job takes its time.
    night.run(str(late.relative_to(night.path)), "--forcerun", "experiment")
    assert json.loads(late.read_text())["runs"][0]["outcome"] == "ok"
    assert len(set(night.runs()) - before) == 1
    night.play()
    assert outcomes(night) == {**dict.fromkeys(FAILURES, "ok"), "mine": "crash"}
    state = night.state()
    forget_experiments(night)
    night.play(last="confirm")
    assert night.state() == state
    assert verify_sessions(night.path).deviations == []
