# Its judging is for the runs alone; verdicts are the next rule's.
rule retest:
    input:
        experiments=lambda wildcards: [
            str(round_files(wildcards).experiment(candidate))
            for candidate in range(CONFIG.candidates)
        ],
    output:
        touch(str(PATHS.logs / "{round}/retested")),
    log:
        str(PATHS.logs / "{round}/retest.log"),
    benchmark:
        str(PATHS.logs / "{round}/retest.tsv")
    threads: training_threads
    resources:
        gpu=training_gpus,
        mem_mb=PLAN.needs.memory_mb,
        runtime=lambda wildcards, attempt: PLAN.needs.minutes(
            CONFIG.judges_runs, attempt
        ),
    params:
        depends=PLAN.judge_digest,
        proposals=lambda wildcards: str(round_files(wildcards).proposals),
        before=lambda wildcards: str(previous(wildcards).proposals),
    shell:
        "ended {params.proposals:q} {params.before:q} && exit; "
        '[ "$RATCHET_AHEAD" != node ] || exec "$RATCHET_PYTHON" -P "$RATCHET_SCRIPTS/retest.py"'
        " --log {log:q} --round {wildcards.round}"


rule judge:
    input:
        experiments=lambda wildcards: [
            str(round_files(wildcards).experiment(candidate))
            for candidate in range(CONFIG.candidates)
        ],
        proposals=lambda wildcards: str(round_files(wildcards).proposals),
        judge=lambda wildcards: str(previous(wildcards).judge),
        retested=lambda wildcards: (
            [] if ALONE else str(PATHS.logs / f"{wildcards.round}/retested")
        ),
    output:
        verdict=str(PATHS.rounds / "{round}/verdict.json"),
        judge=str(PATHS.rounds / "{round}/judge.json"),
    log:
        str(PATHS.logs / "{round}/judge.log"),
    benchmark:
        str(PATHS.logs / "{round}/judge.tsv")
    localrule: True
    threads: 0  # retests are training too
    resources:
        gpu=training_gpus,
    params:
        depends=PLAN.judge_digest,
        before=lambda wildcards: str(previous(wildcards).proposals),
        repeat=lambda wildcards: str(previous(wildcards).verdict),
    shell:
        "ended {input.proposals:q} {params.before:q} && cp {params.repeat:q} {output.verdict:q}"
        " && exec cp {input.judge:q} {output.judge:q}; "
        'exec "$RATCHET_PYTHON" -P "$RATCHET_SCRIPTS/judge.py" --log {log:q} --round {wildcards.round}'
