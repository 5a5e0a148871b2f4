rule steer:
    input:
        verdict=lambda wildcards: str(this(wildcards).verdict),
        judge=lambda wildcards: str(this(wildcards).judge),
        proposals=lambda wildcards: str(this(wildcards).proposals),
        steer=lambda wildcards: str(previous(wildcards).steer),
        before=before("proposals"),
    output:
        str(PATHS.rounds / "{round}/steer.json"),
    log:
        str(PATHS.logs / "{round}/steer.log"),
    benchmark:
        str(PATHS.logs / "{round}/steer.tsv")
    localrule: True
    params:
        depends=PLAN.steer_digest,
    shell:
        "ended {wildcards.round} {input.proposals:q} {input.before:q}"
        " && exec cp {input.steer:q} {output:q}; "
        + step("steer", "--round {wildcards.round}")
