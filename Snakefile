from snakemake.utils import min_version

min_version("9.27")


# Rules run in it with `--software-deployment-method apptainer`, and only then.
container: "docker://ratchet:0.1.0"


include: "rules/common.smk"
include: "rules/prepare.smk"
include: "rules/baseline.smk"
include: "rules/ask.smk"
include: "rules/propose.smk"
include: "rules/experiment.smk"
include: "rules/judge.smk"
include: "rules/steer.smk"
include: "rules/certify.smk"
include: "rules/confirm.smk"
include: "rules/transfer.smk"
include: "rules/report.smk"
include: "rules/evolve.smk"
include: "rules/audit.smk"


rule all:
    default_target: True
    input:
        str(PATHS.report_html),
        # Targets of their own: Snakemake does not make a missing intermediate whose
        # consumers are up to date.  Skipped rounds must notice new limits, and a finished
        # report that another scale is asked for.
        str(PLAN.limits_file),
        [str(PATHS.transfer)] if CONFIG.transfer else [],
    localrule: True


onerror:
    plan.session_stopped(PATHS)
    plan.mirror_session(PLAN, done=False)
    print(
        plan.STOPPED_HINT if hooks.was_interrupted() else plan.RESUME_HINT,
        file=sys.stderr,
    )


onstart:
    hooks.end_gracefully_on_sigterm(workflow)
    seal.begin_workflow(PATHS)
    plan.session_resumed(PLAN, hooks.forces_runs(workflow))


onsuccess:
    seal.finish_workflow(PATHS)
    plan.session_stopped(PATHS)
    plan.mirror_session(PLAN, done=True)
    plan.end_unasked(PATHS, CONFIG)
