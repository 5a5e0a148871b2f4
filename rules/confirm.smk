rule pair:
    input:
        str(PATHS.round(CONFIG.rounds).steer),
    output:
        touch(str(PATHS.logs / f"ahead/confirm-{CONFIG.rounds}-{{candidate}}")),
    log:
        str(PATHS.logs / "ahead/confirm-{candidate}.log"),
    benchmark:
        str(PATHS.logs / "ahead/confirm-{candidate}.tsv")
    threads: training_threads
    resources:
        gpu=training_gpus,
        mem_mb=PLAN.needs.memory_mb,
        runtime=lambda wildcards, attempt: PLAN.needs.minutes(2, attempt),
    params:
        depends=PLAN.confirm_digest,
    shell:
        '[ "$RATCHET_AHEAD" = no ] || exec "$RATCHET_PYTHON" -P "$RATCHET_SCRIPTS/pair.py"'
        " --log {log:q} --candidate {wildcards.candidate}"


rule confirm:
    input:
        # Every round is listed, in ascending order: Snakemake walks inputs depth
        # first, so each round finds the one before in the graph already.  With
        # the last round alone, a chain of some hundred jobs is too deep for it.
        [str(PATHS.round(number).steer) for number in range(CONFIG.rounds + 1)],
        [
            str(PATHS.logs / f"ahead/confirm-{CONFIG.rounds}-{number}")
            for number in range(CONFIG.confirm_replicates)
        ],
    output:
        str(PATHS.confirmation),
    log:
        str(PATHS.log("confirm")),
    benchmark:
        str(PATHS.benchmark("confirm"))
    localrule: True
    threads: 0
    resources:
        gpu=training_gpus,
    params:
        depends=PLAN.confirm_digest,
    shell:
        'exec "$RATCHET_PYTHON" -P "$RATCHET_SCRIPTS/confirm.py" --log {log:q}'
