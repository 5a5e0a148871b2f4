rule judge:
    input:
        experiments=lambda wildcards: [
            str(this(wildcards).experiment(candidate))
            for candidate in range(CONFIG.candidates)
        ],
        proposals=lambda wildcards: str(this(wildcards).proposals),
        judge=lambda wildcards: str(previous(wildcards).judge),
        steer=lambda wildcards: str(previous(wildcards).steer),
        before=before("proposals"),
        repeat=before("verdict"),
    output:
        verdict=str(PATHS.rounds / "{round}/verdict.json"),
        judge=str(PATHS.rounds / "{round}/judge.json"),
    log:
        str(PATHS.logs / "{round}/judge.log"),
    benchmark:
        str(PATHS.logs / "{round}/judge.tsv")
    localrule: True
    params:
        depends=PLAN.judge_digest,
    shell:
        "ended {wildcards.round} {input.proposals:q} {input.before:q}"
        " && cp {input.repeat:q} {output.verdict:q} && exec cp {input.judge:q} {output.judge:q}; "
        + step("judge", "--round {wildcards.round}")
