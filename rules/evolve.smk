from ratchet import relay

COMPETITORS = range(len(CONFIG.strategies))
TURNS = range(1, CONFIG.evolve_rounds + 1)


# Round 0 is where competitors enter.  What a leg does to its competitor's own
# session is not declared: a killed leg is played again from what is there.
rule leg:
    input:
        before=lambda wildcards: relay.before_leg(
            PLAN, int(wildcards.round), int(wildcards.candidate)
        ),
        # A change of limits makes only those legs again that were not played to the end.
        limits=lambda wildcards: (
            str(PLAN.limits_file)
            if relay.is_open(PLAN, int(wildcards.round), int(wildcards.candidate))
            else ancient(str(PLAN.limits_file))
        ),
    output:
        str(PATHS.folder / "evolve/{round}/leg-{candidate}.json"),
    log:
        str(PATHS.logs / "evolve/{round}/leg-{candidate}.log"),
    benchmark:
        str(PATHS.logs / "evolve/{round}/leg-{candidate}.tsv")
    threads: training_threads
    resources:
        gpu=training_gpus,
        mem_mb=PLAN.needs.memory_mb,
        runtime=lambda wildcards, attempt: PLAN.needs.minutes(
            CONFIG.evolve_runs * (1 + CONFIG.judges_runs), attempt
        ),
    params:
        depends=relay.leg_digest(PLAN),
    shell:
        'exec "$RATCHET_PYTHON" -P "$RATCHET_SCRIPTS/leg.py" --log {log:q}'
        " --round {wildcards.round} --candidate {wildcards.candidate} --limits={input.limits:q}"


rule pollinate:
    input:
        lambda wildcards: [
            str(PATHS.leg(int(wildcards.round), competitor))
            for competitor in COMPETITORS
        ],
    output:
        str(PATHS.folder / "evolve/{round}/pollination.json"),
    log:
        str(PATHS.logs / "evolve/{round}/pollinate.log"),
    benchmark:
        str(PATHS.logs / "evolve/{round}/pollinate.tsv")
    localrule: True
    params:
        depends=relay.leg_digest(PLAN),
    shell:
        'exec "$RATCHET_PYTHON" -P "$RATCHET_SCRIPTS/pollinate.py" --log {log:q}'
        " --round {wildcards.round}"


rule champion:
    input:
        # All legs in ascending order, as rule confirm does with its rounds.
        [
            str(PATHS.leg(number, competitor))
            for number in (0, *TURNS)
            for competitor in COMPETITORS
        ],
    output:
        str(PATHS.champion),
    log:
        str(PATHS.log("champion")),
    benchmark:
        str(PATHS.benchmark("champion"))
    threads: training_threads
    resources:
        gpu=training_gpus,
        mem_mb=PLAN.needs.memory_mb,
        runtime=lambda wildcards, attempt: PLAN.needs.minutes(
            2 * CONFIG.confirm_replicates, attempt
        ),
    params:
        depends=relay.champion_digest(PLAN),
    shell:
        'exec "$RATCHET_PYTHON" -P "$RATCHET_SCRIPTS/champion.py" --log {log:q}'


rule tournament:
    input:
        str(PATHS.champion),
        [str(PATHS.pollination(number)) for number in TURNS[:-1]],
    output:
        facts=str(PATHS.evolve_json),
        html=str(PATHS.evolve_html),
    log:
        str(PATHS.log("tournament")),
    benchmark:
        str(PATHS.benchmark("tournament"))
    localrule: True
    params:
        depends=relay.page_digest(PLAN),
    shell:
        'exec "$RATCHET_PYTHON" -P "$RATCHET_SCRIPTS/tournament.py" --log {log:q}'


rule evolve:
    input:
        str(PATHS.evolve_html),
        # A target of its own, as in rule all.
        str(PLAN.limits_file),
    localrule: True
