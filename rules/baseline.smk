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
    threads: 0  # the resource below is what limits training, not the cores
    resources:
        gpu=1,
    params:
        depends=PLAN.judge_digest,
    shell:
        'exec "$RATCHET_PYTHON" -P "$RATCHET_SCRIPTS/baseline.py" --log {log:q}'
