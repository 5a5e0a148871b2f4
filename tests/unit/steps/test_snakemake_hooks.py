"""What is used of Snakemake beyond its interface: it is there, and does what we need."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ratchet.base.io import write_json
from ratchet.records.paths import SessionPaths
from ratchet.records.records import Incumbent, Proposals, SessionState, StopReason
from ratchet.steps.snakemake_hooks import (
    PRIVATE,
    SEEN,
    hush,
    is_idle,
    keep_idle_jobs_here,
    limit_trainings,
    look_as_often_as_asked,
    only_looks,
)


@pytest.fixture
def paths(tmp_path: Path) -> SessionPaths:
    return SessionPaths("s", tmp_path)


def idle(paths: SessionPaths, rule: str, **wildcards: str) -> bool:
    return is_idle(paths, 2, rule, wildcards)


def incumbent(number: int) -> Incumbent:
    return Incumbent(number, "s", {}, "c", 1.0, 0.1, None, 0)


def test_jobs_of_a_session_that_goes_on_are_sent(paths: SessionPaths) -> None:
    wildcards = {"round": "0001", "candidate": "0"}
    assert not idle(paths, "experiment", **wildcards), "not even proposed"
    write_json(paths.round(1).proposals, Proposals(round=1))
    assert not idle(paths, "experiment", **wildcards)
    assert not idle(paths, "judge", **wildcards), "that is no question of idleness"


def test_jobs_after_the_sessions_end_stay_here(paths: SessionPaths) -> None:
    ended = Proposals(round=1, stop=StopReason.TARGET, detail="reached")
    write_json(paths.round(1).proposals, ended)
    assert idle(paths, "experiment", round="0001", candidate="1")


@pytest.mark.parametrize(("kept", "is_idle"), [(0, True), (3, False)])
def test_without_a_champion_there_is_nothing_to_confirm(
    paths: SessionPaths, kept: int, is_idle: bool
) -> None:
    assert not idle(paths, "confirm_run", candidate="0")
    write_json(paths.round(2).steer, SessionState(2, incumbent(kept), 5))
    assert idle(paths, "confirm_run", candidate="0") is is_idle


def test_what_is_damaged_is_left_to_the_job(paths: SessionPaths) -> None:
    path = paths.round(1).proposals
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert not idle(paths, "experiment", round="0001", candidate="0")


def test_the_answer_of_the_class_is_extended(paths: SessionPaths) -> None:
    class Job:
        def __init__(self, rule: str, number: str) -> None:
            self.rule = SimpleNamespace(name=rule)
            self.wildcards_dict = {"round": number, "candidate": "0"}

        @property
        def is_local(self) -> bool:
            return self.rule.name == "steer"

    keep_idle_jobs_here(paths, 2, Job)
    ended = Proposals(round=1, stop=StopReason.TARGET, detail="reached")
    write_json(paths.round(1).proposals, ended)
    assert Job("steer", "0002").is_local
    assert Job("experiment", "0001").is_local
    assert not Job("experiment", "0002").is_local


def test_executors_look_as_often_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def note(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", note)

    class Executor:
        workflow = SimpleNamespace(
            remote_execution_settings=SimpleNamespace(seconds_between_status_checks=7)
        )
        sleep: Any = None

    look_as_often_as_asked(Executor)
    asyncio.run(Executor().sleep())
    assert slept == [7]


@pytest.mark.parametrize(
    ("words", "looks"),
    [
        ("-n", True),
        ("-np --cores 1", True),
        ("--dry-run", True),
        ("--dryrun", True),
        ("--lint", True),
        ("--report out.html", True),
        ("--list-rules", True),
        ("--cores 1", False),
        ("-c1 --config session=n", False),
        ("-j 4 --keep-going -F", False),
    ],
)
def test_looking_needs_no_ownership(words: str, looks: bool) -> None:
    assert only_looks(["snakemake", *words.split()]) is looks


def test_snakemakes_chatter_is_dropped_and_nothing_else(caplog) -> None:
    logger = logging.getLogger("test-chatter")
    hush(logger)
    with caplog.at_level(logging.INFO, logger="test-chatter"):
        for text in (
            "Select jobs to execute...",
            "Execute 1 jobs...",
            "Using shell: /bin/bash",
            "Config file a/b.yaml is extended by additional config",
            "Nothing to be done",
            "a",
        ):
            logger.info(text)
    assert caplog.messages == ["Nothing to be done", "a"]


def test_a_failed_step_is_named_without_its_command(caplog) -> None:
    logger = logging.getLogger("test-failed")
    hush(logger)
    command = (
        'RuleException:\nCalledProcessError in file "x.smk", line 24:\nCommand \'ended() ( : ); '
        ' exec "$RATCHET_PYTHON" -P "$RATCHET_STEP" judge'
        " --log results/a/judge.log --round 1' "
    )
    with caplog.at_level(logging.INFO, logger="test-failed"):
        logger.error(command + "returned non-zero exit status 130.")
        logger.error(command + "died with <Signals.SIGKILL: 9>.")
        logger.error("RuleException:\nsomething else")
    assert caplog.messages == [
        "the step judge ended with status 130; its log is results/a/judge.log",
        "the step judge ended with SIGKILL; its log is results/a/judge.log",
        "RuleException:\nsomething else",
    ]


@pytest.mark.parametrize("name", PRIVATE)
def test_snakemake_has_what_is_used_of_it(name: str) -> None:
    """Another version may lack it, or keep it elsewhere: then see what took its place."""
    import snakemake.cli  # noqa: F401 - its modules need each other in this order

    module, _, attributes = name.partition(":")
    found = importlib.import_module(module)
    for attribute in attributes.split("."):
        given = hasattr(found, attribute) or f"self.{attribute} = " in inspect.getsource(found)
        assert given, f"Snakemake {version('snakemake')} has no {name}"
        found = getattr(found, attribute, None)


def test_the_version_is_one_that_was_seen() -> None:
    assert version("snakemake") in SEEN, "run the tests of sessions, then name it there"


def test_one_training_at_a_time_unless_told_otherwise() -> None:
    registered: dict[str, int] = {}
    workflow = SimpleNamespace(
        global_resources=registered, register_resource=registered.__setitem__
    )
    limit_trainings(workflow)
    assert registered == {"gpu": 1}
    registered["gpu"] = 4
    limit_trainings(workflow)
    assert registered == {"gpu": 4}
