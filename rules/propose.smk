rule propose:
    input:
        limits=lambda wildcards: PLAN.limits_for_proposals(int(wildcards.round)),
        steer=lambda wildcards: str(previous(wildcards).steer),
    output:
        str(PATHS.rounds / "{round}/proposals.json"),
    log:
        str(PATHS.logs / "{round}/propose.log"),
    benchmark:
        str(PATHS.logs / "{round}/propose.tsv")
    shell:
        "{PYTHON} {SCRIPTS}/propose.py {SETTINGS} --log {log}"
        " --round {wildcards.round} --limits={input.limits:q}"
