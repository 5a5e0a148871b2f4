"""What is used of Snakemake beyond its interface: it is there, and does what we need."""

import asyncio
import importlib
import inspect
import logging
import os
import sys
import threading
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.settings.types import DAGSettings

from helpers.report_records import manifest
from ratchet.base.io import write_json
from ratchet.records.paths import SessionPaths
from ratchet.records.proposals import Proposals
from ratchet.records.records import (
    Confirmation,
    Incumbent,
    Scale,
    SessionState,
    StopReason,
    TransferPlan,
)
from ratchet.steps import snakemake_hooks
from ratchet.steps.limits import SIDE_BY_SIDE
from ratchet.steps.snakemake_hooks import (
    INTERRUPTED,
    PRIVATE,
    SEEN,
    forces_runs,
    hush,
    is_idle,
    keep_idle_jobs_here,
    limit_trainings,
    look_when_due,
    only_looks,
    plays_tournament,
    share_folder,
    was_interrupted,
)


@pytest.fixture
def paths(tmp_path: Path) -> SessionPaths:
    return SessionPaths("s", tmp_path)


SCALE = Scale(9.0, None, 60.0, 3.0)
ENDED = Proposals(round=1, stop=StopReason.TARGET, detail="reached")


def champion(number: int) -> SessionState:
    return SessionState(2, Incumbent(number, "s", {}, "c", 1.0, 1.0, 0.1, None, 0), 5)


@pytest.mark.parametrize(
    ("rule", "record", "idle"),
    [
        ("experiment", None, False),
        ("experiment", Proposals(round=1), False),
        ("experiment", ENDED, True),
        ("experiment", {"damaged": 1}, False),
        ("judge", ENDED, False),
        ("confirm_run", None, False),
        ("confirm_run", champion(0), True),
        ("confirm_run", champion(3), False),
        ("transfer_plan", None, False),
        ("transfer_plan", Confirmation(0), True),
        ("transfer_plan", Confirmation(3, gain=0.1), False),
        ("transfer_run", None, False),
        ("transfer_run", TransferPlan(0, "s", "c", SCALE), True),
        ("transfer_run", TransferPlan(3, "s", "c", SCALE, manifest=manifest()), False),
    ],
)
def test_jobs_that_will_find_nothing_to_do_stay_here(
    paths: SessionPaths, rule: str, record: object, idle: bool
) -> None:
    if record is not None:
        places = {
            "confirm_run": paths.round(2).steer,
            "transfer_plan": paths.confirmation,
            "transfer_run": paths.transfer_plan,
        }
        write_json(places.get(rule, paths.round(1).proposals), record)
    assert is_idle(paths, 2, rule, {"round": "0001", "candidate": "0"}) is idle


def test_the_answer_of_the_class_is_extended(paths: SessionPaths) -> None:
    class Job:
        def __init__(self, rule: str, number: str) -> None:
            self.rule = SimpleNamespace(name=rule)
            self.wildcards_dict = {"round": number, "candidate": "0"}

        @property
        def is_local(self) -> bool:
            return self.rule.name == "steer"

    keep_idle_jobs_here(paths, 2, Job)
    write_json(paths.round(1).proposals, ENDED)
    assert Job("steer", "0002").is_local
    assert Job("experiment", "0001").is_local
    assert not Job("experiment", "0002").is_local


class Executor:
    """One of other machines' jobs, whose clock is advanced by hand."""

    sleep: Any = None

    def __init__(self, seconds: float, *jobs: Any) -> None:
        settings = SimpleNamespace(seconds_between_status_checks=seconds)
        self.workflow = SimpleNamespace(remote_execution_settings=settings)
        self.active_jobs, self.wait = list(jobs), True


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that executors slept; none of them pass."""
    found: list[float] = []

    async def note(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", note)
    look_when_due(Executor)
    return found


def test_executors_look_as_often_as_asked(slept: list[float]) -> None:
    asyncio.run(Executor(7).sleep())
    assert slept == [2, 2, 2, 1]


def test_executors_look_once_when_a_jobs_files_have_come(
    slept: list[float], tmp_path: Path
) -> None:
    old, new = tmp_path / "old", tmp_path / "rounds" / "new"
    old.touch()
    job = SimpleNamespace(external_jobid="1", job=SimpleNamespace(output=[str(old), str(new)]))
    executor = Executor(60, job)
    asyncio.run(executor.sleep())
    assert sum(slept) == 60
    new.parent.mkdir()
    new.touch()
    slept.clear()
    asyncio.run(executor.sleep())
    assert sum(slept) == 60, "one of the files is an earlier run's"
    os.utime(old, (2e9, 2e9))
    slept.clear()
    asyncio.run(executor.sleep())
    assert slept == [2, 2]
    slept.clear()
    asyncio.run(executor.sleep())
    assert sum(slept) == 60, "it was asked after already"


def test_the_end_of_a_session_does_not_wait(slept: list[float]) -> None:
    executor = Executor(60)
    executor.wait = False
    asyncio.run(executor.sleep())
    assert slept == []


@pytest.mark.parametrize(
    ("asked", "forced"),
    [
        ({}, False),
        ({"forceall": True}, True),
        ({"forcerun": {"experiment"}}, True),
        ({"forcerun": {"report", "judge"}}, False),
        ({"forcerun": {"results/s/rounds/0003/experiment-0.json"}}, True),
        ({"targets": {"confirm_run"}}, False),
        ({"targets": {"results/s/confirm/run-1.json"}, "forcetargets": True}, True),
    ],
)
def test_runs_are_forced_by_their_rules_and_files_alone(asked: dict, forced: bool) -> None:
    assert forces_runs(SimpleNamespace(dag_settings=DAGSettings(**asked))) is forced


LOOKING = ("-n", "-np --cores 1", "--dry-run", "--dryrun", "--lint", "--report a", "--list-rules")
RUNNING = ("--cores 1", "-c1 --config session=n", "-j 4 --keep-going -F")


def test_looking_needs_no_ownership() -> None:
    assert [w for w in (*LOOKING, *RUNNING) if only_looks(["snakemake", *w.split()])] == [*LOOKING]


def test_chatter_is_dropped_and_a_failed_step_named_without_its_command(caplog) -> None:
    logger = logging.getLogger("test-hush")
    hush(logger)
    command = (
        'RuleException:\nCalledProcessError in file "x.smk", line 24:\nCommand \'ended() ( : ); '
        ' exec "$RATCHET_PYTHON" -P "$RATCHET_STEP" judge'
        " --log results/a/judge.log --round 1' "
    )
    with caplog.at_level(logging.INFO, logger="test-hush"):
        for text in (
            "Select jobs to execute...",
            "Execute 1 jobs...",
            "Using shell: /bin/bash",
            "Config file a/b.yaml is extended by additional config",
            "Nothing to be done",
            command + "returned non-zero exit status 130.",
            command + "died with <Signals.SIGKILL: 9>.",
            "RuleException:\nsomething else",
        ):
            logger.info(text)
    assert caplog.messages == [
        "Nothing to be done",
        "the step judge ended with status 130; its log is results/a/judge.log",
        "the step judge ended with SIGKILL; its log is results/a/judge.log",
        "RuleException:\nsomething else",
    ]


def test_after_an_interrupt_only_our_sentence_is_left(caplog, monkeypatch) -> None:
    monkeypatch.setattr(snakemake_hooks, "_interrupted", threading.Event())
    logger = logging.getLogger("test-interrupt")
    hush(logger)
    ends = ("Complete log(s): a.log", "Elapsed time: 0:00:17")
    failed = "WorkflowError:\nAt least one job did not complete successfully."
    with caplog.at_level(logging.INFO, logger="test-interrupt"):
        for text in (*ends, failed):
            logger.info(text)
        assert caplog.messages == [*ends] and not was_interrupted()
        for text in (f"{INTERRUPTED}, this might take some time.", *ends, failed):
            logger.info(text)
    assert caplog.messages == [*ends, "stopping; what runs is ended"] and was_interrupted()


def test_calls_in_one_folder_take_no_lock_of_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snakemake.persistence import PersistenceBase
    from snakemake.persistence.file import FilePersistence

    monkeypatch.setattr(PersistenceBase, "lock", PersistenceBase.lock)
    share_folder(tmp_path)
    path = tmp_path / ".snakemake"
    assert (path / "incomplete").is_dir(), "or else the records of others are moved"
    mine, other = (FilePersistence(path=path) for _ in range(2))
    with mine.lock():
        with other.lock():
            assert not list((path / "locks").iterdir())
        assert (path / "locks").is_dir(), "whoever ends removes it from no other"


@pytest.mark.parametrize(
    ("words", "is_one"),
    [
        (["--cores", "1", "evolve"], True),
        (["evolve_report"], True),
        (["results/night/evolve.html"], True),
        (["results/night/evolve/0000/leg-0.json"], True),
        (["results/night/evolve/0002/pollination.json"], True),
        (["--config", "mirror=/disk/evolve/night"], False),
        (["--cores", "1"], False),
        (["--config", "task=evolve"], False),
        (["evolved"], False),
    ],
)
def test_a_tournament_is_known_by_its_target(
    monkeypatch: pytest.MonkeyPatch, words: list[str], is_one: bool
) -> None:
    monkeypatch.setattr(sys, "argv", ["snakemake", *words])
    assert plays_tournament() is is_one


@pytest.mark.parametrize("name", PRIVATE)
def test_snakemake_has_what_is_used_of_it(name: str) -> None:
    """Another version may lack it, or keep it elsewhere: then see what took its place."""
    import snakemake.cli  # noqa: F401 - its modules need each other in this order

    assert version("snakemake") in SEEN, "run the tests of sessions, then name it there"
    module, _, attributes = name.partition(":")
    found = importlib.import_module(module)
    for attribute in attributes.split("."):
        given = hasattr(found, attribute) or f"self.{attribute} = " in inspect.getsource(found)
        assert given, f"Snakemake {version('snakemake')} has no {name}"
        found = getattr(found, attribute, None)


def test_one_training_at_a_time_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SIDE_BY_SIDE, "")
    registered: dict[str, int] = {}
    workflow = SimpleNamespace(
        global_resources=registered,
        register_resource=registered.__setitem__,
        is_main_process=True,
    )
    limit_trainings(workflow)
    assert registered == {"gpu": 1}
    assert os.environ[SIDE_BY_SIDE] == "1"
    registered["gpu"] = 4
    limit_trainings(workflow)
    assert registered == {"gpu": 4}
    assert os.environ[SIDE_BY_SIDE] == "4"
    # A job on a node runs alone, and keeps what the main process said.
    workflow.is_main_process, registered["gpu"] = False, 1
    limit_trainings(workflow)
    assert os.environ[SIDE_BY_SIDE] == "4"
