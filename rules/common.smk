import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.jobs import Job
from snakemake.logging import logger
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

try:
    from ratchet import guard, journal, placing, seal
except ImportError as error:
    raise WorkflowError(
        f"{error}: this Snakemake does not run in Ratchet's environment; create it with "
        "`make env` and activate it with `source .venv/bin/activate`"
    )

# Reads config/config.yaml, checks it, the task and the session's frozen inputs,
# and takes the folder.  Ends the process with one message if something is wrong.
PLAN = guard.load(
    config,
    root=Path(),
    harness=Path(workflow.basedir),
    owner=workflow.is_main_process and not guard.only_looks(sys.argv),
)
guard.hush(logger)
CONFIG = PLAN.config
PATHS = PLAN.paths

# Rules say `exec "$RATCHET_PYTHON" -P script`: exec makes the script Snakemake's
# own child, so that signals reach it and it notices Snakemake's death; with -P the
# script's folder is not on the path, so that the installed package is what runs.
# These variables hold interpreter, scripts and settings, on every node that parses
# this file.
os.environ.update(PLAN.environment)

# `ended FILE...`: whether all these proposals say that the session has ended.  A
# round after an ended one repeats its files; that takes a tenth of the time that
# even an idle Python does.  RATCHET_PARENT lets a script notice that Snakemake
# died before the script could ask to be told.
shell.prefix(
    """export RATCHET_PARENT=$PPID; ended() ( for f; do grep -qs '"stop": "' "$f" || exit 1; done ); """
)


# How many trainings run at once.  Without a limit all that are ready would start.
# It is no line of the default profile, since that counts before the others.
if "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", 1)

os.environ.update(placing.environment(workflow))
if workflow.is_main_process:
    placing.keep_idle_jobs_here(PLAN, Job)
    placing.look_as_often_as_asked(RemoteExecutor)


def is_sent():
    """Whether jobs go elsewhere; known when they are made, not when this is read."""
    return workflow.non_local_exec


def training_gpus(wildcards):
    return PLAN.needs.gpus(is_sent())


def training_threads(wildcards):
    return PLAN.needs.cores(is_sent())


wildcard_constraints:
    round=r"\d{4}",
    candidate=r"\d+",


def round_files(wildcards):
    return PATHS.round(int(wildcards.round))


def previous(wildcards):
    return PATHS.round(int(wildcards.round) - 1)
