rule baseline:
    input:
        str(PATHS.manifest),
    output:
        str(PATHS.baseline),
        str(PATHS.round(0).judge),
        str(PATHS.round(0).steer),
    log:
        str(PATHS.log("baseline")),
    benchmark:
        str(PATHS.benchmark("baseline"))
    params:
        depends=PLAN.judge_digest,
    threads: 0  # the resource below is what limits training, not the cores
    resources:
        gpu=1,
    shell:
        "{PYTHON} {SCRIPTS}/baseline.py {SETTINGS} --log {log}"
