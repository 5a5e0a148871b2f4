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
        'exec "$RATCHET_PYTHON" -P "$RATCHET_SCRIPTS/steer.py" --log {log:q} --round {wildcards.round}'
