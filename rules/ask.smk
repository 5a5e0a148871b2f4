# An agent is asked for a candidate of a round while the rounds before it train.  It takes
# no core: it waits for a service.
rule ask:
    input:
        limits=lambda wildcards: PLAN.limits_for_asking(
            int(wildcards.round), int(wildcards.candidate)
        ),
        before=lambda wildcards: PLAN.proposed_before_asking(int(wildcards.round)),
        known=lambda wildcards: PLAN.known_when_asking(int(wildcards.round)),
    output:
        str(PATHS.rounds / "{round}/asked-{candidate}.json"),
    log:
        str(PATHS.logs / "{round}/ask-{candidate}.log"),
    benchmark:
        str(PATHS.logs / "{round}/ask-{candidate}.tsv")
    localrule: True
    threads: 0
    shell:
        # Nobody reads it in a round after the session's end.
        "ended {wildcards.round} {input.before:q} && exec cp {input.before:q} {output:q}; "
        + step(
            "ask",
            "--round {wildcards.round} --candidate {wildcards.candidate} --limits={input.limits:q}",
        )
