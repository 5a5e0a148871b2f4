"""What Slurm's executor leaves open: a controller that is away, and jobs of which it says nothing.

The released executor forgets all its jobs when the controller does not answer for a
minute, waits without end for one that Slurm has forgotten or that made room for others,
for an array of more jobs than may run at once, and counts every ``sbatch`` that reaches
nobody as the failure of a job.  Each of these stops a night's session.  Here its methods
are extended; all else is the executor's.  Seen to work with its version :data:`SEEN`.
"""

import contextlib
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from ratchet.base.structs import Frozen

SEEN = "2.8.0"

PLUGIN = "snakemake_executor_plugin_slurm"

PRIVATE = (
    "query_job_status",
    "query_job_status_squeue",
    "pending_jobs_for_rule",
    "Executor.check_active_jobs",
    "Executor.run_job",
    "Executor._report_job_error_threadsafe",
    "Executor._job_submission_executor",
    "Executor.report_job_error",
)
"""Parts of the executor that are not its public interface; a test finds them all."""

REQUEUED = ("PREEMPTED", "NODE_FAIL")
"""States after which Slurm queues a job again, or never will."""

ENDED = "CANCELLED"

REQUEUE_SECONDS = 60.0
"""How long a job may be in one of these until it counts as ended."""

MISSES = 3
"""Answers in a row without a job, after which it is forgotten: no answer is late twice."""

AGAIN_SECONDS = 15.0
"""Until a job is sent again that the controller did not take."""

AWAY_SECONDS = 3600.0
"""How long the controller may be away before that counts as a failure of the job."""

NEW_OUTAGE_SECONDS = 600.0
"""Without a failure for so long, the next is of another outage."""

# What sbatch says if it is the controller that is missing; nothing was taken then, or it
# was and is found again in the store.
_AWAY = re.compile(
    r"unable to contact slurm controller|socket timed out|connection refused|connection reset"
    r"|slurm_persist_conn|slurmctld.*not responding|backup controller"
    r"|zero bytes were transmitted|temporar(?:y|ily) (?:un|not )available"
    r"|controller is in standby",
    re.IGNORECASE,
)


def is_away(said: str) -> bool:
    """Whether ``sbatch`` says that no controller could be reached."""
    return _AWAY.search(said) is not None


class Known(Frozen):
    """What the last answers said of one job."""

    seen: bool = False
    misses: int = 0
    since: float | None = None
    """When it was first found in a state after which it may be queued again."""


class Answers:
    """What the controller has said of the jobs of this call."""

    def __init__(self) -> None:
        self.jobs: dict[str, Known] = {}
        self.states: Mapping[str, str] | None = None
        self.whole = False

    def heard(self, states: Mapping[str, str] | None, command: str, now: float) -> dict[str, str]:
        """States to go by: a job that Slurm has not queued again by now has ended.

        ``states`` is ``None`` if the controller did not answer.  Then nothing is known of any
        job, which the executor takes as: it goes on.
        """
        self.states = states
        # Accounting may hear of a job late; the queue knows all that were taken.
        self.whole = command.startswith("squeue")
        return {job: self._state(job, state, now) for job, state in (states or {}).items()}

    def _state(self, job: str, state: str, now: float) -> str:
        if state not in REQUEUED:
            self.jobs[job] = Known(seen=True)
            return state
        since = self.jobs.get(job, Known()).since
        since = now if since is None else since
        self.jobs[job] = Known(seen=True, since=since)
        return ENDED if now - since >= REQUEUE_SECONDS else state

    def is_forgotten(self, job: str) -> bool:
        """Whether the controller answers, and has not named a job for some time."""
        if self.states is None or _names(self.states, job):
            return False
        known = self.jobs.get(job, Known())
        known = Known(seen=known.seen, misses=known.misses + 1)
        self.jobs[job] = known
        return known.misses >= MISSES and (known.seen or self.whole)


def _names(states: Mapping[str, str], job: str) -> bool:
    """Whether an answer has a job, or another of its array: those that wait have one line."""
    array = job.partition("_")[0]
    return any(name.partition("_")[0] == array for name in states)


class Outage:
    """How long no controller could be reached, over all jobs that were to be sent."""

    def __init__(self) -> None:
        self.since = self.last = float("-inf")

    def goes_on(self, now: float) -> bool:
        """Note another failure; whether it is worth to try again."""
        if now - self.last > NEW_OUTAGE_SECONDS:
            self.since = now
        self.last = now
        return now - self.since < AWAY_SECONDS


def extend_executor(plugin: Any, clock: Callable[[], float] = time.monotonic) -> None:
    """Extend the methods of the executor in ``plugin``, its package."""
    answers, outage, silent = Answers(), Outage(), False
    kind = plugin.Executor
    ask, check, report = (
        plugin.query_job_status,
        kind.check_active_jobs,
        kind._report_job_error_threadsafe,
    )

    async def query_job_status(command: str, logger: Any) -> tuple[dict[str, str], float]:
        nonlocal silent
        states, seconds = await ask(command, logger)
        if states is None and command.startswith("sacct"):
            # Accounting is off or away; the queue has jobs for minutes after their end.
            command = plugin.query_job_status_squeue(command.split()[-1])
            states, seconds = await ask(command, logger)
        if states is None and not silent:
            logger.warning("Slurm does not answer; its jobs go on, and it is asked again")
        silent = states is None
        return answers.heard(states, command, clock()), seconds or 0.0

    async def check_active_jobs(executor: Any, active_jobs: Sequence[Any]) -> AsyncIterator[Any]:
        async for job in check(executor, active_jobs):
            if not answers.is_forgotten(job.external_jobid):
                yield job
            else:
                # What it made is in the store, so that sent again it takes a moment.
                text = f"Slurm does not know the job {job.external_jobid} any more. "
                executor.report_job_error(job, msg=text)

    def report_unless_away(executor: Any, job: Any, msg: str) -> None:
        if not is_away(msg) or not outage.goes_on(clock()):
            report(executor, job, msg)
            return
        executor.logger.warning("Slurm takes no job at the moment; it is sent again")
        again = threading.Timer(AGAIN_SECONDS, _send, [executor, job.job])
        again.daemon = True
        again.start()

    # Else jobs for an array wait until all that are ready come together.  They never do where
    # fewer may run at once, and the executor does not keep those that it was given.
    plugin.pending_jobs_for_rule = lambda *_: 0
    plugin.query_job_status = query_job_status
    kind.check_active_jobs = check_active_jobs
    kind._report_job_error_threadsafe = report_unless_away


def _send(executor: Any, job: Any) -> None:
    # None is sent any more where the session was stopped meanwhile.
    with contextlib.suppress(RuntimeError):
        executor._job_submission_executor.submit(executor.run_job, job)
