"""What the rules of a tournament need to know beyond a session's plan."""

from __future__ import annotations

from ratchet import files
from ratchet.canonical import digest
from ratchet.codec import encode
from ratchet.errors import DataError, InputMissingError
from ratchet.guard import Plan, code_digest


def before_leg(plan: Plan, number: int, competitor: int) -> list[str]:
    """Files that a leg starts from: the common baseline, or the leg and offers before."""
    paths = plan.paths
    if number == 0:
        return [str(paths.baseline)]
    found = [str(paths.leg(number - 1, competitor))]
    if number > 1:
        found.append(str(paths.pollination(number - 1)))
    return found


def is_open(plan: Plan, number: int, competitor: int) -> bool:
    """Whether a leg is not played, or ended before its share of runs was used up.

    What was done is a fact and is not redone when a limit changes.
    """
    try:
        played = files.read_json(plan.paths.leg(number, competitor))
    except (InputMissingError, DataError):
        return True
    return played.get("stop") is not None


def leg_digest(plan: Plan) -> str:
    """Changes when legs must be played again: from the store, as far as they are there."""
    config = plan.config
    settings = [encode(config.strategies), config.evolve_runs, config.pollination]
    return digest([settings, plan.judge_digest, plan.steer_digest])


def champion_digest(plan: Plan) -> str:
    """Changes when the champion must be confirmed again."""
    code = code_digest("ratchet.stages.champion")
    return digest([plan.config.confirm_replicates, plan.config.evolve_rounds, code])


def page_digest(plan: Plan) -> str:
    """Changes when the page and its facts must be written again."""
    return digest([plan.config.evolve_rounds, code_digest("ratchet.report.evolve")])
