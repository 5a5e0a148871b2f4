# The inputs are not declared: their digests are compared with the manifest when
# this file is parsed, and a changed one stops the session instead of redoing it.
rule prepare:
    output:
        str(PATHS.manifest),
    log:
        str(PATHS.log("prepare")),
    benchmark:
        str(PATHS.benchmark("prepare"))
    # It freezes what hardware the session is measured on: that of a node, not the
    # head's.
    threads: training_threads
    resources:
        **{
            **training(0),
            "runtime": lambda wildcards, attempt: PLAN.needs.prepare_minutes(attempt),
        },
    shell:
        step("prepare")


rule limits:
    input:
        str(PATHS.manifest),
    output:
        str(PLAN.limits_file),
    log:
        str(PATHS.log(f"limits-{PLAN.limits_file.stem}")),
    localrule: True
    shell:
        step("limits", "--limits={output:q}")
