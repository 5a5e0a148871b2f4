rule steer:
    input:
        verdict=lambda wildcards: str(round_files(wildcards).verdict),
    output:
        str(PATHS.rounds / "{round}/steer.json"),
    log:
        str(PATHS.logs / "{round}/steer.log"),
    benchmark:
        str(PATHS.logs / "{round}/steer.tsv")
    params:
        depends=PLAN.steer_digest,
    shell:
        "{PYTHON} {SCRIPTS}/steer.py {SETTINGS} --log {log} --round {wildcards.round}"
