rule certify_plan:
    input:
        # Every round in ascending order, as rule confirm lists them.
        steers=[str(PATHS.round(number).steer) for number in range(CONFIG.rounds + 1)],
        judge=str(PATHS.round(CONFIG.rounds).judge),
    output:
        str(PATHS.certification_plan),
    log:
        str(PATHS.log("certify_plan")),
    benchmark:
        str(PATHS.benchmark("certify_plan"))
    localrule: True
    params:
        depends=PLAN.certify_digest,
    shell:
        step("certify_plan")


rule certify_run:
    input:
        plan=str(PATHS.certification_plan),
        limits=lambda wildcards: PLAN.limits_for_certifying(int(wildcards.candidate)),
    output:
        str(PATHS.folder / "certify/run-{candidate}.json"),
    log:
        str(PATHS.logs / "certify/run-{candidate}.log"),
    benchmark:
        str(PATHS.logs / "certify/run-{candidate}.tsv")
    threads: training_threads
    resources:
        **training(1),
    params:
        depends=PLAN.certify_digest,
    shell:
        step(
            "certify_run",
            "--candidate {wildcards.candidate} --limits={input.limits:q}",
        )


# The smaller champion is run once before it is confirmed.
rule certify:
    input:
        plan=str(PATHS.certification_plan),
        runs=[
            str(PATHS.certify_run(number))
            for number in range(CONFIG.certification_runs)
        ],
        limits=PLAN.limits_for_certification(),
    output:
        str(PATHS.certification),
    log:
        str(PATHS.log("certify")),
    benchmark:
        str(PATHS.benchmark("certify"))
    threads: training_threads
    resources:
        **training(1),
    params:
        depends=PLAN.certify_digest,
    shell:
        step("certify", "--limits={input.limits:q}")
