"""What every rule calls: ``step.py NAME --log FILE [--round N] [--candidate N] [--limits FILE]``.

A step reads small files, does one thing and writes one; its name is that of its rule.
Steps import what they need themselves: a round after a session's end is skipped
without most of the package.
"""

from __future__ import annotations

from ratchet.entry import Call, main


def prepare(call: Call) -> None:
    """Hash the inputs, prepare the data, freeze the manifest."""
    from ratchet.stages import prepare

    prepare.run(call.config, call.task, call.root, call.harness, call.journal)


def limits(call: Call) -> None:
    """Start the clock of the limits in force."""
    call.start_limits()


def baseline_run(call: Call) -> None:
    """Run the unchanged source once."""
    from ratchet.stages import baseline

    baseline.make_run(call.session, call.candidate)


def baseline(call: Call) -> None:
    """Start judge, branch and table from the runs of the unchanged source."""
    from ratchet.stages import baseline

    baseline.run(call.session)


def propose(call: Call) -> None:
    """Propose what one round tries."""
    from ratchet.stages import skipping

    if not skipping.proposals(call.paths, call.number, call.limits, call.now, call.journal):
        from ratchet.stages import propose

        propose.run(call.session, call.number)


def experiment(call: Call) -> None:
    """Make all runs of one candidate that the judge wants."""
    from ratchet.stages import skipping

    def recall() -> bool:
        from ratchet.stages import experiment

        return experiment.recall(call.session, call.number, call.candidate)

    where = call.paths, call.number, call.candidate
    if not skipping.experiment(*where, call.limits, call.now, call.journal, recall):
        from ratchet.stages import experiment

        experiment.run(call.session, call.number, call.candidate)


def judge(call: Call) -> None:
    """Give the verdicts of one round."""
    from ratchet.stages import skipping

    if not skipping.judge(call.paths, call.number, call.config.candidates):
        from ratchet.stages import judge

        judge.run(call.session, call.number)


def steer(call: Call) -> None:
    """Decide what the next round starts from."""
    from ratchet.stages import skipping

    if not skipping.steer(call.paths, call.number):
        from ratchet.stages import steer

        steer.run(call.session, call.number)


def confirm_run(call: Call) -> None:
    """Run champion and baseline once more, with a fresh seed."""
    from ratchet.stages import confirm

    confirm.make_run(call.session, call.candidate)


def confirm(call: Call) -> None:
    """Compare champion and baseline by their fresh runs."""
    from ratchet.stages import confirm

    confirm.run(call.session)


def report(call: Call) -> None:
    """Write the session for people and tools."""
    from ratchet.report import publish

    publish.run(call.session)


def audit_run(call: Call) -> None:
    """Run one code of one turn of an audit."""
    from ratchet.stages import rerun

    rerun.run(call.session, call.number, call.candidate)


def audit_report(call: Call) -> None:
    """Judge every change of an audit by its fresh runs, for people and tools."""
    from ratchet.report import audited

    audited.run(call.session)


def evolve_leg(call: Call) -> None:
    """Play a competitor's share of one round of the tournament."""
    from ratchet.stages import leg
    from ratchet.stages.entering import Arena

    leg.run(Arena.at(call), call.number, call.candidate, call.limits_file, lambda: call.now)


def evolve_pollinate(call: Call) -> None:
    """Offer the wins of one round of the tournament to the other competitors."""
    from ratchet.stages import pollinate
    from ratchet.stages.entering import Arena

    pollinate.run(Arena.at(call), call.number)


def evolve_champion(call: Call) -> None:
    """Run the tournament's best beside the common baseline, with fresh seeds."""
    from ratchet.stages import champion
    from ratchet.stages.entering import Arena

    champion.run(Arena.at(call))


def evolve_report(call: Call) -> None:
    """Write the tournament for people and tools."""
    from ratchet.report import evolve
    from ratchet.stages.entering import Arena

    evolve.run(Arena.at(call))


STEPS = (
    prepare,
    limits,
    baseline_run,
    baseline,
    propose,
    experiment,
    judge,
    steer,
    confirm_run,
    confirm,
    report,
    audit_run,
    audit_report,
    evolve_leg,
    evolve_pollinate,
    evolve_champion,
    evolve_report,
)

if __name__ == "__main__":
    main({step.__name__: step for step in STEPS})
