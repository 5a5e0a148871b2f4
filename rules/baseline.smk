rule baseline_run:
    input:
        str(PATHS.manifest),
    output:
        str(PATHS.folder / "baseline/run-{candidate}.json"),
    log:
        str(PATHS.logs / "baseline/run-{candidate}.log"),
    benchmark:
        str(PATHS.logs / "baseline/run-{candidate}.tsv")
    threads: training_threads
    resources:
        **training(1),
    shell:
        step("baseline_run", "--candidate {wildcards.candidate}")


rule baseline:
    input:
        manifest=str(PATHS.manifest),
        runs=[
            str(PATHS.baseline_run(number))
            for number in range(CONFIG.baseline_replicates)
        ],
    output:
        str(PATHS.baseline),
        str(PATHS.round(0).judge),
        str(PATHS.round(0).steer),
    log:
        str(PATHS.log("baseline")),
    benchmark:
        str(PATHS.benchmark("baseline"))
    localrule: True
    params:
        depends=PLAN.judge_digest,
    shell:
        step("baseline")
