from ratchet.logs import rerun_plan


# A run is named by its turn and by its code's digest, so that another plan finds it.
rule audit_run:
    input:
        manifest=str(PATHS.manifest),
        before=lambda wildcards: rerun_plan.audit_run_inputs(
            PATHS, int(wildcards.round)
        ),
        plan=lambda wildcards: (
            str(PATHS.rerun_plan)
            if rerun_plan.is_audit_run_open(
                PATHS, int(wildcards.round), int(wildcards.candidate)
            )
            else ancient(str(PATHS.rerun_plan))
        ),
    output:
        str(PATHS.folder / "audit/{round}/run-{candidate}.json"),
    log:
        str(PATHS.logs / "audit/{round}/run-{candidate}.log"),
    benchmark:
        str(PATHS.logs / "audit/{round}/run-{candidate}.tsv")
    threads: training_threads
    resources:
        **training(1),
    params:
        depends=rerun_plan.audit_run_digest(),
    shell:
        step("audit_run", "--round {wildcards.round} --candidate {wildcards.candidate}")


rule audit_report:
    input:
        manifest=str(PATHS.manifest),
        plan=str(PATHS.rerun_plan),
        # All turns in ascending order, as rule confirm does with its rounds.
        runs=rerun_plan.audit_run_files(PATHS),
    output:
        facts=str(PATHS.audit_json),
        html=str(PATHS.audit_html),
    log:
        str(PATHS.log("audit")),
    benchmark:
        str(PATHS.benchmark("audit"))
    localrule: True
    params:
        depends=rerun_plan.audit_page_digest(PLAN),
    shell:
        step("audit_report")


rule audit:
    input:
        str(PATHS.audit_html),
    localrule: True
