rule judge:
    input:
        experiments=lambda wildcards: [
            str(round_files(wildcards).experiment(candidate))
            for candidate in range(CONFIG.candidates)
        ],
        judge=lambda wildcards: str(previous(wildcards).judge),
    output:
        str(PATHS.rounds / "{round}/verdict.json"),
        str(PATHS.rounds / "{round}/judge.json"),
    log:
        str(PATHS.logs / "{round}/judge.log"),
    benchmark:
        str(PATHS.logs / "{round}/judge.tsv")
    threads: 0  # retests are training too
    resources:
        gpu=1,
    params:
        depends=PLAN.judge_digest,
    shell:
        'exec "$RATCHET_PYTHON" -P "$RATCHET_SCRIPTS/judge.py" --log {log:q} --round {wildcards.round}'
