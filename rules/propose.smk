rule propose:
    input:
        limits=lambda wildcards: PLAN.limits_for_proposals(int(wildcards.round)),
        offer=lambda wildcards: PLAN.offers(int(wildcards.round)),
        steer=lambda wildcards: str(previous(wildcards).steer),
    output:
        str(PATHS.rounds / "{round}/proposals.json"),
    log:
        str(PATHS.logs / "{round}/propose.log"),
    benchmark:
        str(PATHS.logs / "{round}/propose.tsv")
    localrule: True
    params:
        before=lambda wildcards: str(previous(wildcards).proposals),
    shell:
        "ended {params.before:q} && exec cp {params.before:q} {output:q}; "
        'exec "$RATCHET_PYTHON" -P "$RATCHET_SCRIPTS/propose.py" --log {log:q}'
        " --round {wildcards.round} --limits={input.limits:q}"
