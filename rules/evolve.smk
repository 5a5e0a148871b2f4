from ratchet.tournament import plan as tournament

COMPETITORS = range(len(CONFIG.strategies))
TURNS = range(1, CONFIG.evolve_rounds + 1)


# Round 0 is where competitors enter.  What a leg does to its competitor's own
# session is not declared: a killed leg is played again from what is there.
rule evolve_leg:
    input:
        before=lambda wildcards: tournament.leg_inputs(
            PLAN, int(wildcards.round), int(wildcards.candidate)
        ),
        # A change of limits makes only those legs again that were not played to the end.
        limits=lambda wildcards: (
            str(PLAN.limits_file)
            if tournament.is_leg_open(
                PLAN, int(wildcards.round), int(wildcards.candidate)
            )
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
        **training(CONFIG.evolve_runs * (1 + CONFIG.further_runs)),
    params:
        depends=tournament.leg_digest(PLAN),
    shell:
        step(
            "evolve_leg",
            "--round {wildcards.round} --candidate {wildcards.candidate} --limits={input.limits:q}",
        )


rule evolve_pollinate:
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
        depends=tournament.leg_digest(PLAN),
    shell:
        step("evolve_pollinate", "--round {wildcards.round}")


rule evolve_champion:
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
        **training(2 * CONFIG.confirm_replicates),
    params:
        depends=tournament.champion_digest(PLAN),
    shell:
        step("evolve_champion")


rule evolve_report:
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
        depends=tournament.tournament_page_digest(PLAN),
    shell:
        step("evolve_report")


rule evolve:
    input:
        str(PATHS.evolve_html),
        # A target of its own, as in rule all.
        str(PLAN.limits_file),
    localrule: True
