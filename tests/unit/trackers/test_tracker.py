"""Runs of a session in trackers: each once, whatever fails or is killed."""

import importlib.util
import math
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.boxes import Box
from helpers.commands import Patch
from helpers.shared import copied, shared_box
from helpers.tracked import CURVE_STEPS, tracked_box
from ratchet.base.errors import InputMissingError
from ratchet.base.text import one_line
from ratchet.cli.sessions import session_of
from ratchet.config import TRACKERS
from ratchet.records.events import Journal
from ratchet.records.series import CurvePoint
from ratchet.session import Session
from ratchet.steps import plan
from ratchet.trackers import tracker
from ratchet.trackers.tracked import (
    LONGEST_TEXT,
    TrackedRun,
    known_values,
    project_name,
    session_runs,
)
from ratchet.trackers.tracker import (
    Tracker,
    failure_lines,
    note_outcome,
    require_tracker,
    sync_session,
)


class Kept(Tracker):
    """Stands in for a tracker: what it was sent, by id, and how often."""

    runs: dict[str, TrackedRun]
    sent: int
    fails_at: int

    def __init__(self, project: str, group: str) -> None:
        assert (project, group) == ("ratchet-fake", "default")

    def send(self, run: TrackedRun) -> None:
        if Kept.sent == Kept.fails_at:
            raise ConnectionError("nobody\nthere")
        Kept.sent += 1
        Kept.runs[run.id] = run

    def close(self) -> None: ...


@shared_box
def played(path: Path) -> Box:
    """A session of three rounds whose runs have curves."""
    box = tracked_box(path)
    box.play(rounds=3)
    box.backend = None
    return box


@pytest.fixture
def box(played: Box, tmp_path: Path) -> Box:
    return copied(played, tmp_path / "box")


@pytest.fixture
def session(box: Box, monkeypatch: Patch) -> Session:
    """The session; its runs go to an empty stand-in."""
    Kept.runs, Kept.sent, Kept.fails_at = {}, 0, -1
    monkeypatch.setattr(tracker, "tracker_module", lambda name: SimpleNamespace(Tracker=Kept))
    return opened(box)


def opened(box: Box) -> Session:
    return session_of("default", box.path, ["task=tasks/fake"])


def test_every_run_is_sent_once_with_its_values(session: Session, box: Box) -> None:
    assert sync_session(session, "wandb") == len(box.runs()) == Kept.sent
    assert sync_session(session, "wandb") == 0
    for run in Kept.runs.values():
        record = session.store.lookup(str(run.config["key"]))
        assert record is not None
        assert run.summary.get("val_loss") == record.metrics.get("val_loss")
        assert run.summary["wall_seconds"] == record.wall_seconds
        assert run.failed == (record.outcome.value != "ok")
        assert [step for step, _ in run.points] == list(range(CURVE_STEPS))
        assert run.config["session"] == "default" and "constant.RATE" in run.config
    told = {run.config["number"]: run for run in Kept.runs.values() if run.kind == "search"}
    for ruling in box.rulings():
        run = told[ruling["number"]]
        assert run.summary["verdict"] == ruling["verdict"]
        assert run.summary["verdict_reason"] == one_line(ruling["reason"])
        assert run.summary.get("p_better") == ruling["confidence"]
    assert {run.kind for run in Kept.runs.values()} == {"search", "confirm"}
    # Another tracker has none of them yet.
    assert sync_session(session, "mlflow") == len(box.runs())


def test_runs_of_an_experiment_wait_for_its_verdict(session: Session, box: Box) -> None:
    every = list(session_runs(session))
    (box.session / "rounds/0003/steer.json").unlink()
    (box.session / "rounds/0003/verdict.json").unlink()
    (box.session / "confirm.json").unlink()
    early = {run.id for run in session_runs(session)}
    waiting = [run for run in every if run.id not in early]
    assert {run.config["number"] for run in waiting} == {3}
    assert {run.id for run in session_runs(session, over=True)} == {run.id for run in every}
    assert [run.id for run in session_runs(session, early, over=True)] == [r.id for r in waiting]
    # Those that decide about no experiment wait for nothing, known or not.
    (box.session / "rounds/0001/steer.json").unlink()
    kinds = {(run.kind, run.config["number"] > 0) for run in session_runs(session)}
    assert kinds == {("search", False), ("confirm", False), ("confirm", True)}


def test_what_fails_is_sent_later_and_said_once(session: Session, box: Box) -> None:
    journal = Journal(session.paths.events)
    Kept.fails_at = 2
    for _ in range(2):
        with pytest.raises(ConnectionError):
            sync_session(session, "wandb")
        note_outcome(journal, "wandb", "ConnectionError: nobody there")
    assert [e["tracker"] for e in box.events("tracker_failed")] == ["wandb"]
    (line,) = failure_lines(iter(box.events()), "default")
    assert line.endswith("nobody there; send what is missing: ratchet export default --to wandb")
    Kept.fails_at = -1
    assert sync_session(session, "wandb") == len(box.runs()) - 2
    note_outcome(journal, "wandb", "")
    note_outcome(journal, "mlflow", "")
    assert failure_lines(iter(box.events()), "default") == []
    assert len(box.events("tracker_works")) == 1
    assert (Kept.sent, len(Kept.runs)) == (len(box.runs()), len(box.runs()))


def test_a_kill_before_a_run_is_noted_makes_no_second_one(
    session: Session, box: Box, monkeypatch: Patch
) -> None:
    def killed(path: Path, line: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tracker, "append_line", killed)
        with pytest.raises(KeyboardInterrupt):
            sync_session(session, "trackio")
    assert sync_session(session, "trackio") == len(box.runs())
    assert (Kept.sent, len(Kept.runs)) == (len(box.runs()) + 1, len(box.runs()))


def test_a_tracker_that_hangs_is_given_up(session: Session, monkeypatch: Patch) -> None:
    monkeypatch.setattr(tracker, "RUN_SECONDS", 0.05)
    monkeypatch.setattr(Kept, "send", lambda self, run: time.sleep(600))
    with pytest.raises(TimeoutError, match="more than"):
        sync_session(session, "wandb")


@pytest.mark.skipif(
    importlib.util.find_spec("wandb") is not None, reason="wandb is installed here, and would work"
)
def test_a_session_ends_well_whose_tracker_never_works(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(plan, "_check_trackers", lambda settings: None)
    box = tracked_box(tmp_path / "box")
    said = box.play(rounds=1, trackers=["wandb"])
    assert said.count("tracker wandb: ModuleNotFoundError") == 1
    (failed,) = box.events("tracker_failed")
    assert "No module named 'wandb'" in failed["reason"]
    assert box.json("report.json")["answer"]
    assert "Traceback" in (box.session / "logs/trackers.log").read_text()
    assert not (box.session / "trackers/wandb.sent").exists()


def test_a_session_without_the_package_does_not_start(tmp_path: Path, monkeypatch: Patch) -> None:
    # A folder that a tracker left in the working folder is no package.
    (tmp_path / "wandb").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tracker, "PACKAGES", {"no_such_tracker": "none-such", "wandb": "wandb"})
    with pytest.raises(InputMissingError, match=r"env-trackers`.* -m pip install none-such$"):
        require_tracker("no_such_tracker")
    if importlib.util.find_spec("wandb") is not None and not _installed("wandb"):
        with pytest.raises(InputMissingError):
            require_tracker("wandb")


def _installed(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def test_each_tracker_has_a_module() -> None:
    here = Path(tracker.__file__).parent
    assert set(TRACKERS) == set(tracker.PACKAGES) == set(tracker._LOCAL)
    assert all((here / f"{name}.py").is_file() for name in TRACKERS)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=3
)


@given(st.dictionaries(st.text(max_size=5), values, max_size=5))
def test_values_are_short_lines_and_finite_numbers(given_: dict[str, object]) -> None:
    for name, value in known_values(given_).items():
        assert isinstance(value, str | int | float) and name == one_line(name)
        if isinstance(value, str):
            assert 0 < len(value) <= LONGEST_TEXT and value == one_line(value)
            value.encode()
        else:
            assert math.isfinite(value)


def test_a_curve_ascends_and_ends_where_it_diverged() -> None:
    losses = [(0, 2.0), (5, 1.0), (5, 1.5), (3, math.inf), (9, math.nan)]
    run = TrackedRun("1", "a", "b", {}, {}, curve=[CurvePoint(*each) for each in losses])
    assert run.points == [(0, {"train/loss": 2.0}), (5, {"train/loss": 1.5})]


def test_names_of_projects_are_plain() -> None:
    assert project_name("bytelm") == "ratchet-bytelm"
    assert project_name("../a b/ü") == "ratchet-a-b"
    assert project_name("//") == "ratchet"
