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
    params:
        depends=PLAN.judge_digest,
    threads: 0  # retests are training too
    resources:
        gpu=1,
    shell:
        "{PYTHON} {SCRIPTS}/judge.py {SETTINGS} --log {log} --round {wildcards.round}"
