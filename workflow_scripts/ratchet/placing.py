"""Where Snakemake runs a job, here or elsewhere, and how many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ratchet import files
from ratchet.errors import RatchetError
from ratchet.guard import Plan
from ratchet.journal import Journal
from ratchet.records import Proposals, SessionState


def environment(workflow: Any) -> dict[str, str]:
    """Whether the rules' commands make runs ahead of the step that will ask for them.

    On a cluster's node they do, so that the step itself needs none; here those that
    further GPUs can make at the same time.
    """
    if workflow.remote_exec:
        return {"RATCHET_AHEAD": "node"}
    limit = workflow.global_resources["gpu"].value
    several = isinstance(limit, int) and limit > 1
    return {"RATCHET_AHEAD": "gpus" if several else "no"}


def keep_idle_jobs_here(plan: Plan, kind: Any) -> None:
    """Run jobs that will find nothing to do on this machine.

    A round without a retest, and every round that is left when a session ends early,
    would wait in a cluster's queue for nothing.  Snakemake decides by rule and has no
    setting for this, so the answer of ``kind``, its class of jobs, is extended.
    """
    usual = kind.is_local.fget

    def is_local(job: Any) -> bool:
        return usual(job) or is_idle(plan, job.rule.name, job.wildcards_dict)

    kind.is_local = property(is_local)


def look_as_often_as_asked(kind: Any) -> None:
    """Have executors look after their jobs as often as ``--seconds-between-status-checks`` says.

    Slurm's otherwise waits ten seconds longer each time that nothing has ended, up to
    three minutes, and a round waits for it.  ``kind`` is the class of executors.
    """

    async def sleep(executor: Any) -> None:
        settings = executor.workflow.remote_execution_settings
        await asyncio.sleep(settings.seconds_between_status_checks)

    kind.sleep = sleep


def is_idle(plan: Plan, rule: str, wildcards: Mapping[str, str]) -> bool:
    """Whether a job's inputs, as far as they are there, say that it will find nothing to do.

    What cannot be read is not decided here: the job itself will name it.
    """
    try:
        if rule in ("experiment", "retest") and _has_ended(plan, int(wildcards["round"])):
            return True
        if rule == "retest":
            return _wants_no_runs(plan, int(wildcards["round"]))
        if rule == "pair":
            path = plan.paths.round(plan.config.rounds).steer
            return files.read_record(SessionState, path).incumbent.number == 0
    except (RatchetError, OSError):
        pass
    return False


def _has_ended(plan: Plan, number: int) -> bool:
    return files.read_record(Proposals, plan.paths.round(number).proposals).stop is not None


def _wants_no_runs(plan: Plan, number: int) -> bool:
    here = plan.paths.round(number)
    if not all(here.experiment(c).exists() for c in range(plan.config.candidates)):
        return False
    from ratchet.stages import ahead  # most of the package; needed with a cluster only
    from ratchet.stages.session import Session

    root: Path = plan.paths.root
    session = Session.open(plan.config, root, plan.harness, Journal(plan.paths.events))
    return not ahead.wants_runs(session, number)
