import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

try:
    from ratchet.integrity import seal
    from ratchet.steps import plan
    from ratchet.steps import snakemake_hooks as hooks
except ImportError as error:
    raise WorkflowError(
        f"{error}: this Snakemake does not run in Ratchet's environment; create it with "
        "`make env` and activate it with `source .venv/bin/activate`"
    )

hooks.quiet_snakemake()


# Of the folder that the session runs in, or else the harness's own.
configfile: plan.config_file(root=Path(), harness=Path(workflow.basedir))


# Checks the settings, the task and the session's frozen inputs, and takes the session.
# Ends the process with one message, in our own words, if something is wrong, so that
# Snakemake's check of the settings finds nothing more.
config.update(plan.plain(config))
PLAN = plan.load_plan(
    hooks.given_settings(workflow),
    root=Path(),
    harness=Path(workflow.basedir),
    owner=hooks.runs_jobs(workflow),
    tournament=hooks.plays_tournament(),
)
validate(config, "../config/schema.yaml")
CONFIG = PLAN.config
PATHS = PLAN.paths

# Interpreter, script and settings of all steps, on every node that parses this file.
os.environ.update(PLAN.environment)

# RATCHET_PARENT lets a step notice that Snakemake died before the step could ask to be
# told.  `ended ROUND FILE...`: whether all these proposals say that the session has
# ended.  A round after an ended one repeats its files; that takes a tenth of the time
# that even an idle Python does.  Before round 1 there is none.
shell.prefix(
    "export RATCHET_PARENT=$PPID; "
    """ended() ( [ "$1" != 0001 ] || exit 1; shift; for f; do grep -qs '"stop": "' "$f" || exit 1; done ); """
)

if hooks.runs_jobs(workflow):
    plan.mirror_finished(PLAN)

hooks.share_folder(Path())
hooks.limit_trainings(workflow)
hooks.place_jobs(workflow, PATHS, CONFIG.rounds)


wildcard_constraints:
    round=r"\d{4}",
    candidate=r"\d+",


def step(name, options=""):
    """Command of a step.

    `exec` makes the step Snakemake's own child, so that signals reach it and it notices
    Snakemake's death; with -P the script's folder is not on the path, so that the
    installed package is what runs.
    """
    return f'exec "$RATCHET_PYTHON" -P "$RATCHET_STEP" {name} --log {{log:q}} {options}'


def training_threads(wildcards):
    """Threads of a training job; none on one machine, where `gpu` is what limits."""
    return PLAN.needs.cores(hooks.sends_jobs(workflow))


def training(runs, needs=PLAN.needs):
    """Resources of a training job of so many runs."""
    return {
        "gpu": lambda wildcards: needs.gpus(hooks.sends_jobs(workflow)),
        "mem_mb": needs.memory_mb,
        "runtime": lambda wildcards, attempt: needs.minutes(runs, attempt),
    }


# What steps read of earlier rounds, of the baseline and of the manifest is not declared:
# each round rests on the one before, which stands for all of it, as a confirmation does
# for the report.  Else the graph would grow with the square of the rounds.
def this(wildcards):
    return PATHS.round(int(wildcards.round))


def previous(wildcards):
    return PATHS.round(int(wildcards.round) - 1)


def before(name, *arguments):
    """A file of the round before, for rounds after the first: round 0 has none such."""

    def find(wildcards):
        if int(wildcards.round) == 1:
            return []
        found = getattr(previous(wildcards), name)
        return str(found(int(wildcards.candidate)) if callable(found) else found)

    return find
