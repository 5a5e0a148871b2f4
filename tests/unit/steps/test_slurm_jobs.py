"""What Slurm's executor is extended by: no job is lost, and none is waited for without end."""

import asyncio
import logging
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.commands import snakemake_of
from ratchet.steps import slurm_jobs
from ratchet.steps.slurm_jobs import (
    AWAY_SECONDS,
    MISSES,
    NEW_OUTAGE_SECONDS,
    REQUEUE_SECONDS,
    Answers,
    Outage,
    extend_executor,
    is_away,
)

SQUEUE = "squeue --states=all"
AWAY = "Batch job submission failed: Unable to contact slurm controller (connect failure)"


def job(number: int | str) -> SimpleNamespace:
    return SimpleNamespace(external_jobid=str(number), job=f"job {number}")


class Plugin:
    """A package with an executor that does with states what the released one does."""

    def __init__(self) -> None:
        self.answer: dict[str, str] | None = {}
        self.asked: list[str] = []
        self.command = SQUEUE
        self.now = 0.0
        self.reported: list[str] = []
        self.sent: list[str] = []
        plugin = self

        class Executor:
            logger = logging.getLogger("test-slurm")
            _job_submission_executor = SimpleNamespace(submit=lambda call, job: call(job))

            async def check_active_jobs(self, active_jobs: Sequence[Any]) -> Any:
                states, _ = await plugin.query_job_status(plugin.command, self.logger)
                if states is None:
                    return
                for found in active_jobs:
                    if states.get(found.external_jobid) == "CANCELLED":
                        self.report_job_error(found, "cancelled")
                    elif states.get(found.external_jobid) != "COMPLETED":
                        yield found

            def report_job_error(self, found: Any, msg: str) -> None:
                plugin.reported.append(f"{found.external_jobid}: {msg}")

            def _report_job_error_threadsafe(self, found: Any, msg: str) -> None:
                self.report_job_error(found, msg)

            def run_job(self, found: str) -> None:
                plugin.sent.append(found)

        self.Executor = Executor

    def query_job_status_squeue(self, run: str) -> str:
        return f"{SQUEUE} --name {run}"

    async def query_job_status(self, command: str, logger: Any) -> Any:
        self.asked.append(command)
        if command.startswith("sacct"):
            return None, None
        return (None, None) if self.answer is None else (self.answer, 0.1)

    def check(self, *numbers: int | str) -> list[str]:
        """The jobs that go on, by what Slurm answers now."""

        async def go() -> list[str]:
            active = [job(number) for number in numbers]
            return [j.external_jobid async for j in self.Executor().check_active_jobs(active)]

        return asyncio.run(go())


@pytest.fixture
def plugin() -> Plugin:
    made = Plugin()
    extend_executor(made, lambda: made.now)
    return made


def test_jobs_go_on_while_the_controller_is_away(plugin: Plugin, caplog: Any) -> None:
    plugin.answer = {"1": "RUNNING", "2": "PENDING"}
    assert plugin.check(1, 2) == ["1", "2"]
    plugin.answer = None
    for _ in range(3 * MISSES):
        assert plugin.check(1, 2) == ["1", "2"]
    assert caplog.messages == ["Slurm does not answer; its jobs go on, and it is asked again"]
    plugin.answer = {"1": "COMPLETED", "2": "RUNNING"}
    assert plugin.check(1, 2) == ["2"]
    assert not plugin.reported


def test_a_job_that_slurm_forgot_ends(plugin: Plugin) -> None:
    plugin.answer = {"1": "RUNNING", "2": "RUNNING"}
    assert plugin.check(1, 2) == ["1", "2"]
    plugin.answer = {"2": "RUNNING"}
    for _ in range(MISSES - 1):
        assert plugin.check(1, 2) == ["1", "2"]
    assert plugin.check(1, 2) == ["2"]
    assert plugin.reported == ["1: Slurm does not know the job 1 any more. "]


def test_answers_without_a_job_count_in_a_row_only(plugin: Plugin) -> None:
    for answer in ({}, {}, {"1": "RUNNING"}, {}, {}):
        plugin.answer = answer
        assert plugin.check(1) == ["1"]
    assert plugin.check(1) == []


def test_the_queue_is_asked_where_there_is_no_accounting(plugin: Plugin) -> None:
    plugin.command, plugin.answer = "sacct -X --name run-1", {"1": "COMPLETED", "2": "RUNNING"}
    assert plugin.check(1, 2) == ["2"]
    assert plugin.asked == [plugin.command, f"{SQUEUE} --name run-1"]


def test_accounting_may_hear_of_a_job_late() -> None:
    answers = Answers()
    for _ in range(10 * MISSES):
        answers.heard({}, "sacct -X", 0.0)
        assert not answers.is_forgotten("1")
    answers.heard({"1": "RUNNING"}, "sacct -X", 0.0)
    answers.heard({}, "sacct -X", 0.0)
    assert [answers.is_forgotten("1") for _ in range(MISSES)][-1]


def test_jobs_of_an_array_that_wait_have_one_line() -> None:
    answers = Answers()
    answers.heard({"12_[3-8]": "PENDING"}, SQUEUE, 0.0)
    assert not any(answers.is_forgotten("12_5") for _ in range(2 * MISSES))
    assert [answers.is_forgotten("1_5") for _ in range(MISSES)][-1]


@pytest.mark.parametrize("state", ["PREEMPTED", "NODE_FAIL"])
def test_a_job_ends_that_is_not_queued_again(plugin: Plugin, state: str) -> None:
    plugin.answer = {"1": state, "2": state}
    assert plugin.check(1, 2) == ["1", "2"]
    plugin.now = REQUEUE_SECONDS / 2
    plugin.answer = {"1": state, "2": "PENDING"}
    assert plugin.check(1, 2) == ["1", "2"]
    plugin.now = REQUEUE_SECONDS
    plugin.answer = {"1": state, "2": state}
    assert plugin.check(1, 2) == ["2"]
    assert plugin.reported == ["1: cancelled"]


def test_a_job_that_nobody_took_is_sent_again(plugin: Plugin, monkeypatch: Any) -> None:
    waits: list[float] = []

    class Timer:
        """One that does not wait."""

        def __init__(self, seconds: float, call: Any, words: Sequence[Any]) -> None:
            waits.append(seconds)
            self.start = lambda: call(*words)

    monkeypatch.setattr(slurm_jobs.threading, "Timer", Timer)
    executor = plugin.Executor()
    executor._report_job_error_threadsafe(job(1), f"SLURM sbatch failed: {AWAY}")
    assert plugin.sent == ["job 1"]
    assert waits == [slurm_jobs.AGAIN_SECONDS]
    executor._report_job_error_threadsafe(job(2), "sbatch: error: invalid partition specified: x")
    assert plugin.reported == ["2: sbatch: error: invalid partition specified: x"]


def test_an_outage_ends_at_last() -> None:
    outage = Outage()
    step = NEW_OUTAGE_SECONDS / 2
    times = [step * number for number in range(int(AWAY_SECONDS / step) + 1)]
    assert [outage.goes_on(now) for now in times] == [True] * (len(times) - 1) + [False]
    assert outage.goes_on(times[-1] + NEW_OUTAGE_SECONDS + 1)


@pytest.mark.parametrize(
    ("said", "away"),
    [
        (AWAY, True),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv", True),
        ("sbatch: error: invalid account or account/partition combination", False),
        ("sbatch: error: Requested node configuration is not available", False),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit", False),
    ],
)
def test_only_a_missing_controller_is_waited_for(said: str, away: bool) -> None:
    assert is_away(said) is away


PROGRAM = """
import importlib, inspect
from importlib.metadata import version
from types import SimpleNamespace
import snakemake.cli
from ratchet.steps.slurm_jobs import PLUGIN, PRIVATE, extend_executor

plugin = importlib.import_module(PLUGIN)
for name in PRIVATE:
    head, _, last = name.rpartition(".")
    owner = getattr(plugin, head) if head else plugin
    assert hasattr(owner, last) or f"self.{last} = " in inspect.getsource(owner), name

extend_executor(plugin)
executor, sent = object.__new__(plugin.Executor), []
executor._main_event_loop, executor.max_array_size = None, 1000
executor.logger = SimpleNamespace(debug=lambda text: None)
executor.array_jobs, executor._submit_array_jobs = {"experiment"}, sent.append
executor.workflow = SimpleNamespace(dag=SimpleNamespace(ready_jobs=["some", "more", "jobs"]))
rule = SimpleNamespace(name="experiment")
executor.run_jobs([SimpleNamespace(rule=rule, is_group=lambda: False) for _ in range(2)])
print(version(PLUGIN), *map(len, sent))
"""


def test_the_released_executor_is_extended() -> None:
    """Another version may lack a part; and an array does not wait for jobs that may not run yet."""
    snakemake = snakemake_of("RATCHET_SLURM_VENV", "env-slurm")
    python = str(Path(snakemake).with_name("python"))
    done = subprocess.run([python, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.stdout.split() == [slurm_jobs.SEEN, "2"], done.stderr
