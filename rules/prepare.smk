# The inputs are not declared: their digests are compared with the manifest when
# this file is parsed, and a changed one stops the session instead of redoing it.
rule prepare:
    output:
        str(PATHS.manifest),
    log:
        str(PATHS.log("prepare")),
    benchmark:
        str(PATHS.benchmark("prepare"))
    shell:
        "{PYTHON} {SCRIPTS}/prepare.py {SETTINGS} --log {log}"


rule limits:
    input:
        str(PATHS.manifest),
    output:
        str(PATHS.limits(CONFIG.limits_token)),
    log:
        str(PATHS.log(f"limits-{CONFIG.limits_token}")),
    shell:
        "{PYTHON} {SCRIPTS}/limits.py {SETTINGS} --log {log}"
