# Data of another preset may have to be prepared, and hardware is that of a node.
rule transfer_plan:
    input:
        str(PATHS.confirmation),
    output:
        str(PATHS.transfer_plan),
    log:
        str(PATHS.log("transfer_plan")),
    benchmark:
        str(PATHS.benchmark("transfer_plan"))
    threads: training_threads
    resources:
        **{
            **training(0, PLAN.transfer_needs),
            "runtime": lambda wildcards, attempt: PLAN.needs.prepare_minutes(attempt),
        },
    params:
        depends=PLAN.transfer_digest,
    shell:
        step("transfer_plan")


rule transfer_run:
    input:
        str(PATHS.transfer_plan),
    output:
        str(PATHS.folder / "transfer/run-{candidate}.json"),
    log:
        str(PATHS.logs / "transfer/run-{candidate}.log"),
    benchmark:
        str(PATHS.logs / "transfer/run-{candidate}.tsv")
    threads: training_threads
    resources:
        **training(2, PLAN.transfer_needs),
    params:
        depends=PLAN.transfer_digest,
    shell:
        step("transfer_run", "--candidate {wildcards.candidate}")


rule transfer:
    input:
        confirmation=str(PATHS.confirmation),
        plan=str(PATHS.transfer_plan),
        runs=[
            str(PATHS.transfer_run(number))
            for number in range(CONFIG.transfer_runs // 2)
        ],
    output:
        str(PATHS.transfer),
    log:
        str(PATHS.log("transfer")),
    benchmark:
        str(PATHS.benchmark("transfer"))
    localrule: True
    params:
        depends=PLAN.transfer_digest,
    shell:
        step("transfer")
