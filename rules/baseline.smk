rule replicate:
    input:
        str(PATHS.manifest),
    output:
        touch(str(PATHS.logs / "ahead/baseline-{candidate}")),
    log:
        str(PATHS.logs / "ahead/baseline-{candidate}.log"),
    benchmark:
        str(PATHS.logs / "ahead/baseline-{candidate}.tsv")
    threads: training_threads
    resources:
        gpu=training_gpus,
        mem_mb=PLAN.needs.memory_mb,
        runtime=lambda wildcards, attempt: PLAN.needs.minutes(1, attempt),
    shell:
        '[ "$RATCHET_AHEAD" = no ] || exec "$RATCHET_PYTHON" -P "$RATCHET_SCRIPTS/replicate.py"'
        " --log {log:q} --candidate {wildcards.candidate}"


rule baseline:
    input:
        str(PATHS.manifest),
        [
            str(PATHS.logs / f"ahead/baseline-{number}")
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
    threads: 0
    resources:
        gpu=training_gpus,
    params:
        depends=PLAN.judge_digest,
    shell:
        'exec "$RATCHET_PYTHON" -P "$RATCHET_SCRIPTS/baseline.py" --log {log:q}'
