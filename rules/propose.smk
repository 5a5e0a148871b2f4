rule propose:
    input:
        limits=lambda wildcards: PLAN.limits_for_proposals(int(wildcards.round)),
        offer=lambda wildcards: PLAN.offers(int(wildcards.round)),
        steer=lambda wildcards: str(previous(wildcards).steer),
        asked=lambda wildcards: PLAN.asked(int(wildcards.round)),
        before=before("proposals"),
    output:
        str(PATHS.rounds / "{round}/proposals.json"),
    log:
        str(PATHS.logs / "{round}/propose.log"),
    benchmark:
        str(PATHS.logs / "{round}/propose.tsv")
    localrule: True
    shell:
        "ended {wildcards.round} {input.before:q} && exec cp {input.before:q} {output:q}; "
        + step("propose", "--round {wildcards.round} --limits={input.limits:q}")
