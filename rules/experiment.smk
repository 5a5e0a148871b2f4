# On a cluster's node the runs that the judge will ask for follow at once, where the
# candidate is the only one of its round; else rule retest makes them.
ALONE = CONFIG.candidates == 1


rule experiment:
    input:
        limits=lambda wildcards: PLAN.limits_for_experiment(
            int(wildcards.round), int(wildcards.candidate)
        ),
        proposals=lambda wildcards: str(round_files(wildcards).proposals),
    output:
        str(PATHS.rounds / "{round}/experiment-{candidate}.json"),
    log:
        str(PATHS.logs / "{round}/experiment-{candidate}.log"),
    benchmark:
        str(PATHS.logs / "{round}/experiment-{candidate}.tsv")
    threads: training_threads
    resources:
        gpu=training_gpus,
        mem_mb=PLAN.needs.memory_mb,
        runtime=lambda wildcards, attempt: PLAN.needs.minutes(
            1 + ALONE * CONFIG.judges_runs, attempt
        ),
    params:
        before=lambda wildcards: str(previous(wildcards).proposals),
        repeat=lambda wildcards: str(
            previous(wildcards).experiment(int(wildcards.candidate))
        ),
    shell:
        "ended {input.proposals:q} {params.before:q} && exec cp {params.repeat:q} {output:q}; "
        'exec "$RATCHET_PYTHON" -P "$RATCHET_SCRIPTS/experiment.py" --log {log:q}'
        " --round {wildcards.round} --candidate {wildcards.candidate} --limits={input.limits:q}"
