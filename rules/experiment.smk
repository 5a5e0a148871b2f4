# All runs of one candidate: the first, and those that the judge wants as it was before
# the round.
rule experiment:
    input:
        limits=lambda wildcards: PLAN.limits_for_experiment(
            int(wildcards.round), int(wildcards.candidate)
        ),
        proposals=lambda wildcards: str(this(wildcards).proposals),
        judge=lambda wildcards: str(previous(wildcards).judge),
        steer=lambda wildcards: str(previous(wildcards).steer),
        verdict=before("verdict"),
        before=before("proposals"),
        repeat=before("experiment"),
    output:
        str(PATHS.rounds / "{round}/experiment-{candidate}.json"),
    log:
        str(PATHS.logs / "{round}/experiment-{candidate}.log"),
    benchmark:
        str(PATHS.logs / "{round}/experiment-{candidate}.tsv")
    threads: training_threads
    resources:
        **training(CONFIG.experiment_runs),
    params:
        # Another judge may want further runs; those that were made are in the store.
        depends=PLAN.judge_digest,
    shell:
        "ended {wildcards.round} {input.proposals:q} {input.before:q}"
        " && exec cp {input.repeat:q} {output:q}; "
        + step(
            "experiment",
            "--round {wildcards.round} --candidate {wildcards.candidate} --limits={input.limits:q}",
        )
