rule confirm:
    input:
        # Every round is listed, in ascending order: Snakemake walks inputs depth
        # first, so each round finds the one before in the graph already.  With
        # the last round alone, a chain of some hundred jobs is too deep for it.
        [str(PATHS.round(number).steer) for number in range(CONFIG.rounds + 1)],
    output:
        str(PATHS.confirmation),
    log:
        str(PATHS.log("confirm")),
    benchmark:
        str(PATHS.benchmark("confirm"))
    threads: 0  # the resource below is what limits training, not the cores
    resources:
        gpu=1,
    params:
        depends=PLAN.confirm_digest,
    shell:
        'exec "$RATCHET_PYTHON" -P "$RATCHET_SCRIPTS/confirm.py" --log {log:q}'
