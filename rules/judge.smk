rule judge:
    input:
        experiments=lambda wildcards: [
            str(round_files(wildcards).experiment(candidate))
            for candidate in range(CONFIG.candidates)
        ],
        proposals=lambda wildcards: str(round_files(wildcards).proposals),
        judge=lambda wildcards: str(previous(wildcards).judge),
    output:
        verdict=str(PATHS.rounds / "{round}/verdict.json"),
        judge=str(PATHS.rounds / "{round}/judge.json"),
    log:
        str(PATHS.logs / "{round}/judge.log"),
    benchmark:
        str(PATHS.logs / "{round}/judge.tsv")
    threads: 0  # retests are training too
    resources:
        gpu=1,
    params:
        depends=PLAN.judge_digest,
        before=lambda wildcards: str(previous(wildcards).proposals),
        repeat=lambda wildcards: str(previous(wildcards).verdict),
    shell:
        "ended {input.proposals:q} {params.before:q} && cp {params.repeat:q} {output.verdict:q}"
        " && exec cp {input.judge:q} {output.judge:q}; "
        'exec "$RATCHET_PYTHON" -P "$RATCHET_SCRIPTS/judge.py" --log {log:q} --round {wildcards.round}'
