"""What every rule calls: ``step.py NAME --log FILE [--round N] [--candidate N] [--limits FILE]``.

A step reads small files, does one thing and writes one; its name is that of its rule.
Steps import what they need themselves: a round after a session's end is skipped
without most of the package.
"""

from __future__ import annotations

from ratchet.steps.call import StepCall, run_step


def prepare(call: StepCall) -> None:
    """Hash the inputs, prepare the data, freeze the manifest."""
    from ratchet.steps.prepare import write_manifest

    write_manifest(call.config, call.task, call.root, call.harness, call.journal)


def limits(call: StepCall) -> None:
    """Start the clock of the limits in force."""
    call.start_limits()


def baseline_run(call: StepCall) -> None:
    """Run the unchanged source once."""
    from ratchet.steps.baseline import write_baseline_run

    write_baseline_run(call.session, call.candidate)


def baseline(call: StepCall) -> None:
    """Start judge, branch and table from the runs of the unchanged source."""
    from ratchet.steps.baseline import write_baseline

    write_baseline(call.session)


def propose(call: StepCall) -> None:
    """Propose what one round tries."""
    from ratchet.steps.limits import skip_proposals

    if not skip_proposals(call.paths, call.number, call.limits, call.now, call.journal):
        from ratchet.steps.propose import write_proposals

        write_proposals(call.session, call.number)


def experiment(call: StepCall) -> None:
    """Make all runs of one candidate that the judge wants."""
    from ratchet.steps.limits import skip_experiment

    def recall() -> bool:
        from ratchet.steps.experiment import recall_experiment

        return recall_experiment(call.session, call.number, call.candidate)

    where = call.paths, call.number, call.candidate
    if not skip_experiment(*where, call.limits, call.now, call.journal, recall):
        from ratchet.steps.experiment import write_experiment

        write_experiment(call.session, call.number, call.candidate)


def judge(call: StepCall) -> None:
    """Give the verdicts of one round."""
    from ratchet.steps.limits import skip_judging

    if not skip_judging(call.paths, call.number, call.config.candidates):
        from ratchet.steps.judge import write_verdict

        write_verdict(call.session, call.number)


def steer(call: StepCall) -> None:
    """Decide what the next round starts from."""
    from ratchet.steps.limits import skip_steering

    if not skip_steering(call.paths, call.number):
        from ratchet.steps.steer import write_state

        write_state(call.session, call.number)


def confirm_run(call: StepCall) -> None:
    """Run champion and baseline once more, with a fresh seed."""
    from ratchet.steps.confirm import write_confirmation_run

    write_confirmation_run(call.session, call.candidate)


def confirm(call: StepCall) -> None:
    """Compare champion and baseline by their fresh runs."""
    from ratchet.steps.confirm import write_confirmation

    write_confirmation(call.session)


def report(call: StepCall) -> None:
    """Write the session for people and tools."""
    from ratchet.report.session_report import write_report

    write_report(call.session)


def audit_run(call: StepCall) -> None:
    """Run one code of one turn of an audit."""
    from ratchet.logs.rerun import write_audit_run
    from ratchet.runs.executor import Executor

    write_audit_run(Executor(call.session), call.number, call.candidate)


def audit_report(call: StepCall) -> None:
    """Judge every change of an audit by its fresh runs, for people and tools."""
    from ratchet.report.audit_report import write_audit_report

    write_audit_report(call.session)


def evolve_leg(call: StepCall) -> None:
    """Play a competitor's share of one round of the tournament."""
    from ratchet.tournament.arena import Arena
    from ratchet.tournament.leg import play_leg

    play_leg(Arena.at(call), call.number, call.candidate, call.limits_file, lambda: call.now)


def evolve_pollinate(call: StepCall) -> None:
    """Offer the wins of one round of the tournament to the other competitors."""
    from ratchet.tournament.arena import Arena
    from ratchet.tournament.pollination import write_pollination

    write_pollination(Arena.at(call), call.number)


def evolve_champion(call: StepCall) -> None:
    """Run the tournament's best beside the common baseline, with fresh seeds."""
    from ratchet.tournament.arena import Arena
    from ratchet.tournament.pollination import confirm_champion

    confirm_champion(Arena.at(call))


def evolve_report(call: StepCall) -> None:
    """Write the tournament for people and tools."""
    from ratchet.report.tournament_report import write_tournament_report
    from ratchet.tournament.arena import Arena

    write_tournament_report(Arena.at(call))


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
    run_step({step.__name__: step for step in STEPS})
