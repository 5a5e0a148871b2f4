rule confirm_run:
    input:
        baseline=str(PATHS.baseline),
        steer=str(PATHS.round(CONFIG.rounds).steer),
        certified=[str(PATHS.certification)] if CONFIG.certification_runs else [],
    output:
        str(PATHS.folder / "confirm/run-{candidate}.json"),
    log:
        str(PATHS.logs / "confirm/run-{candidate}.log"),
    benchmark:
        str(PATHS.logs / "confirm/run-{candidate}.tsv")
    threads: training_threads
    resources:
        **training(2),
    params:
        depends=PLAN.confirm_digest,
    shell:
        step("confirm_run", "--candidate {wildcards.candidate}")


rule confirm:
    input:
        # Every round is listed, in ascending order: Snakemake walks inputs depth
        # first, so each round finds the one before in the graph already.  With
        # the last round alone, a chain of some hundred jobs is too deep for it.
        steers=[str(PATHS.round(number).steer) for number in range(CONFIG.rounds + 1)],
        # What it knows of the noise.
        judge=str(PATHS.round(CONFIG.rounds).judge),
        baseline=str(PATHS.baseline),
        certified=[str(PATHS.certification)] if CONFIG.certification_runs else [],
        runs=[
            str(PATHS.confirm_run(number))
            for number in range(CONFIG.confirm_replicates)
        ],
    output:
        str(PATHS.confirmation),
    log:
        str(PATHS.log("confirm")),
    benchmark:
        str(PATHS.benchmark("confirm"))
    localrule: True
    params:
        depends=PLAN.confirm_digest,
    shell:
        step("confirm")
