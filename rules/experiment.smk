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
    threads: 0  # the resource below is what limits training, not the cores
    resources:
        gpu=1,
    params:
        before=lambda wildcards: str(previous(wildcards).proposals),
        repeat=lambda wildcards: str(
            previous(wildcards).experiment(int(wildcards.candidate))
        ),
    shell:
        "ended {input.proposals:q} {params.before:q} && exec cp {params.repeat:q} {output:q}; "
        'exec "$RATCHET_PYTHON" -P "$RATCHET_SCRIPTS/experiment.py" --log {log:q}'
        " --round {wildcards.round} --candidate {wildcards.candidate} --limits={input.limits:q}"
