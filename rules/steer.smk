rule steer:
    input:
        verdict=lambda wildcards: str(round_files(wildcards).verdict),
        proposals=lambda wildcards: str(round_files(wildcards).proposals),
        steer=lambda wildcards: str(previous(wildcards).steer),
    output:
        str(PATHS.rounds / "{round}/steer.json"),
    log:
        str(PATHS.logs / "{round}/steer.log"),
    benchmark:
        str(PATHS.logs / "{round}/steer.tsv")
    localrule: True
    params:
        depends=PLAN.steer_digest,
        before=lambda wildcards: str(previous(wildcards).proposals),
    shell:
        "ended {input.proposals:q} {params.before:q} && exec cp {input.steer:q} {output:q}; "
        'exec "$RATCHET_PYTHON" -P "$RATCHET_SCRIPTS/steer.py" --log {log:q} --round {wildcards.round}'
