"""All of Snakemake that is not its public interface, and why we need it.

:data:`PRIVATE` names every such part; a test fails on a version of Snakemake that lacks
one.  Seen to work with Snakemake :data:`SEEN`.
"""

import asyncio
import contextlib
import functools
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.io import read_if_whole
from ratchet.base.terminal import CLEAR_LINE, use_colour
from ratchet.records.paths import SessionPaths
from ratchet.records.proposals import Proposals
from ratchet.records.records import CertificationPlan, Confirmation, SessionState, TransferPlan
from ratchet.steps import slurm_jobs
from ratchet.steps.limits import SIDE_BY_SIDE

SEEN = ("9.27.1",)

PRIVATE = (
    "snakemake.logging:logger",
    "snakemake.settings.types:ConfigSettings.overwrite_config",
    "snakemake.workflow:Workflow.is_main_process",
    "snakemake.workflow:Workflow.non_local_exec",
    "snakemake.workflow:Workflow.global_resources",
    "snakemake.workflow:Workflow.dag_settings",
    "snakemake.persistence:PersistenceBase.lock",
    "snakemake.persistence:PersistenceBase.noop",
    "snakemake.settings.types:DAGSettings.forceall",
    "snakemake.settings.types:DAGSettings.forcerun",
    "snakemake.settings.types:DAGSettings.forcetargets",
    "snakemake.settings.types:DAGSettings.targets",
    "snakemake.workflow:Workflow.register_resource",
    "snakemake.workflow:Workflow.scheduler",
    "snakemake.scheduling.job_scheduler:JobScheduler.exit_gracefully",
    "snakemake.jobs:Job.is_local",
    "snakemake.jobs:Job.wildcards_dict",
    "snakemake_interface_executor_plugins.executors.remote:RemoteExecutor.sleep",
    "snakemake_interface_executor_plugins.executors.remote:RemoteExecutor.active_jobs",
    "snakemake_interface_executor_plugins.executors.remote:RemoteExecutor.wait",
)

TRAININGS_AT_ONCE = 1


# Options of Snakemake with which it runs no job; it decides that after parsing.
_LOOKING = re.compile(
    r"-[A-Za-z]*n[A-Za-z]*|--(dry-?run|lint|report|summary|detailed-summary|dag|rulegraph|filegraph"
    r"|d3dag|list.*|help|version|containerize|archive|unlock|delete.*)(=.*)?"
)


def only_looks(arguments: Sequence[str]) -> bool:
    """Whether a call of Snakemake will run no job, so that it need not hold the session."""
    return any(_LOOKING.fullmatch(word) for word in arguments[1:])


def runs_jobs(workflow: Any) -> bool:
    """Whether this process is the one that runs the workflow's jobs.

    Jobs on nodes, and those of a group, parse the Snakefile again.
    """
    return bool(workflow.is_main_process) and not only_looks(sys.argv)


def given_settings(workflow: Any) -> dict[str, Any]:
    """Settings that ``--config`` and ``--configfile`` give, without those of ``configfile:``.

    A session goes on with its own settings where nothing is given, so that it counts what is.
    """
    return dict(workflow.config_settings.overwrite_config)


def sends_jobs(workflow: Any) -> bool:
    """Whether jobs go to other machines; known when they are made, not at parsing."""
    return bool(workflow.non_local_exec)


_TRAINING = re.compile(
    r"baseline_run|experiment|certify_run|confirm_run|transfer_run|audit_run|.*(experiment|run)-\d+\.json"
)
"""Rules, and files of rules, whose jobs make runs."""


def forces_runs(workflow: Any) -> bool:
    """Whether jobs that make runs are to be done again, by ``-F``, ``-f`` or ``-R``."""
    asked = workflow.dag_settings
    named = {*asked.forcerun, *(asked.targets if asked.forcetargets else ())}
    return bool(asked.forceall) or any(_TRAINING.fullmatch(str(name)) for name in named)


def share_folder(root: Path) -> None:
    """Let calls of Snakemake work side by side in one folder, each on files of its own.

    Its locks are left out: a session has one of Ratchet's own by now.  Those of Snakemake
    outlive a kill, and a call that ends removes the folder with everybody's.  The folder of
    what is incomplete comes first: without it a call that finds the records of another takes
    them for an older version's, and moves them.
    """
    from snakemake.persistence import PersistenceBase

    (root / ".snakemake" / "incomplete").mkdir(parents=True, exist_ok=True)
    PersistenceBase.lock = PersistenceBase.noop


_TOURNAMENT = re.compile(
    r"evolve(_\w+)?|\S*/evolve\.(html|json)|\S*/evolve/(champion|\d{4}/[\w-]+)\.json"
)
"""Targets of a tournament: its pages, and the files of its legs."""


def plays_tournament() -> bool:
    """Whether this call of Snakemake names a target of a tournament."""
    return any(_TOURNAMENT.fullmatch(word) for word in sys.argv[1:])


def limit_trainings(workflow: Any) -> None:
    """Run one training at a time where nobody says otherwise, and tell the steps how many.

    Without a limit all that are ready would start.  It is no line of the default
    profile, since that counts before the others.
    """
    if "gpu" not in workflow.global_resources:
        workflow.register_resource("gpu", TRAININGS_AT_ONCE)
    if workflow.is_main_process:  # a node has its own job alone
        found = workflow.global_resources["gpu"]
        os.environ[SIDE_BY_SIDE] = str(getattr(found, "value", found))


def place_jobs(workflow: Any, paths: SessionPaths, rounds: int) -> None:
    """Change where a cluster's jobs run, and how often they are looked after."""
    if workflow.is_main_process:
        from snakemake.jobs import Job
        from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

        keep_idle_jobs_here(paths, rounds, Job)
        look_when_due(RemoteExecutor)
        # Snakemake has imported every executor that is installed.
        slurm = sys.modules.get(slurm_jobs.PLUGIN)
        if slurm is not None:
            slurm_jobs.extend_executor(slurm)


def keep_idle_jobs_here(paths: SessionPaths, rounds: int, kind: Any) -> None:
    """Run jobs that will find nothing to do on this machine.

    Every round that is left when a session ends early would wait in a cluster's queue
    for nothing.  Snakemake decides by rule and has no setting for this, so the answer
    of ``kind``, its class of jobs, is extended.
    """
    usual = kind.is_local.fget

    def is_local(job: Any) -> bool:
        return usual(job) or is_idle(paths, rounds, job.rule.name, job.wildcards_dict)

    kind.is_local = property(is_local)


def is_idle(paths: SessionPaths, rounds: int, rule: str, wildcards: Mapping[str, str]) -> bool:
    """Whether a job's inputs, as far as they are there, say that it will find nothing to do.

    What cannot be read is not decided here: the job itself will name it.
    """
    if rule == "experiment":
        made = read_if_whole(Proposals, paths.round(int(wildcards["round"])).proposals)
        return made is not None and made.stop is not None
    if rule == "certify_run":
        variants = read_if_whole(CertificationPlan, paths.certification_plan)
        return variants is not None and int(wildcards["candidate"]) >= len(variants.variants)
    if rule == "transfer_run":
        plan = read_if_whole(TransferPlan, paths.transfer_plan)
        return plan is not None and plan.manifest is None
    if rule == "transfer_plan":
        confirmed = read_if_whole(Confirmation, paths.confirmation)
        return confirmed is not None and confirmed.gain is None
    if rule == "confirm_run":
        last = read_if_whole(SessionState, paths.round(rounds).steer)
        return last is not None and last.incumbent.number == 0
    return False


GLANCE_SECONDS = 2.0
"""Between looks at the jobs' files, which ask nobody but the file system."""

LEAVE_SECONDS = 2.0
"""How long a job goes on after its files are there: two Snakemakes end."""


def look_when_due(kind: Any) -> None:
    """Have executors ask after their jobs as often as ``--seconds-between-status-checks`` says.

    Slurm's otherwise waits ten seconds longer each time that nothing has ended, up to
    three minutes, and a round waits for it.  They ask sooner when a job's files have
    come, and do not wait when the session ends.  ``kind`` is the class of executors.
    """
    before: dict[Any, list[int]] = {}

    def has_ended(job: Any) -> bool:
        """Whether all files of a job have come since it was sent; said once of a job."""
        stamps = [_changed(file) for file in job.job.output]
        first = before.setdefault(job.external_jobid, stamps)
        ended = bool(stamps) and all(new > old for new, old in zip(stamps, first, strict=True))
        if ended:
            before[job.external_jobid] = stamps
        return ended

    async def sleep(executor: Any) -> None:
        left = executor.workflow.remote_execution_settings.seconds_between_status_checks
        while left > 0 and executor.wait:
            await asyncio.sleep(min(GLANCE_SECONDS, left))
            left -= GLANCE_SECONDS
            jobs = list(executor.active_jobs)
            # A network file system looks at a folder anew when that is listed.
            for folder in {Path(file).parent for job in jobs for file in job.job.output}:
                with contextlib.suppress(OSError):
                    list(folder.iterdir())
            ended = [has_ended(job) for job in jobs]
            if any(ended):
                left = min(left, LEAVE_SECONDS)

    kind.sleep = sleep


def _changed(file: str) -> int:
    """When a file was written last; 0 if it is not there."""
    with contextlib.suppress(OSError):
        return Path(file).stat().st_mtime_ns
    return 0


def end_gracefully_on_sigterm(workflow: Any) -> None:
    """Let SIGTERM finish the running jobs and then end.

    Snakemake's own handler takes a lock that the interrupted thread may hold;
    the same call in a thread of its own cannot deadlock.
    """

    def stop(*_: object) -> None:
        threading.Thread(target=workflow.scheduler.exit_gracefully, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)


_CHATTER = re.compile(
    r"Select jobs to execute|Execute \d+ jobs|Using shell|Singularity containers: ignored"
    r"|Assuming unrestricted shared filesystem|Config file \S+ is (?:extended|replaced) by"
    r"|(?:WorkflowError:\s+)?At least one job did not complete successfully"
)

INTERRUPTED = "Terminating processes on user request"
"""What Snakemake says when Ctrl-C reached it; it has no other sign of that."""

# What a step that was interrupted leaves behind says less than the end of the session does.
_AFTER_INTERRUPT = re.compile(r"Complete log|Elapsed time|the step \w+ ended with status 130")

# A failed step's whole command says less than its name and how it ended.
_FAILED_STEP = re.compile(
    r"RuleException:.*RATCHET_STEP\W+(?P<step>\w+) --log '?(?P<log>\S+?)'? .*"
    r"(?:returned non-zero exit (?P<status>status \d+)|died with <Signals\.(?P<signal>\w+))",
    re.DOTALL,
)


def quiet_snakemake() -> None:
    """Drop or shorten those of Snakemake's lines that say little about the session.

    The profile's ``quiet`` drops most.  A logger plugin could drop these too, but one
    that writes to the terminal takes the place of Snakemake's own handler: colours and
    the order of its lines with those of the steps would be ours to make.  A plugin is
    also a package of its own that has to be named in the profile, without which
    Snakemake ends before this file can say what is missing.
    """
    from snakemake.logging import logger

    hush(logger)


_interrupted = threading.Event()


def was_interrupted() -> bool:
    """Whether Ctrl-C ended this call of Snakemake."""
    return _interrupted.is_set()


@functools.cache
def hush(logger: logging.Logger) -> None:
    """Filter what a logger says, once."""

    def keep(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if text.startswith(INTERRUPTED):
            _interrupted.set()
            # The line of a run that is under way is drawn there.
            clear = CLEAR_LINE if use_colour(sys.stderr) else ""
            record.msg, record.args = f"{clear}stopping; what runs is ended", ()
        failed = _FAILED_STEP.match(text)
        if failed is not None:
            end = failed["status"] or str(failed["signal"])
            text = f"the step {failed['step']} ended with {end}; its log is {failed['log']}"
            record.msg, record.args = text, ()
        if was_interrupted() and _AFTER_INTERRUPT.match(text):
            return False
        return not _CHATTER.match(text)

    logger.addFilter(keep)
