"""When an agent is asked no more: failures in a row, tokens, dollars."""

import pytest

from helpers import REPO
from ratchet.base.structs import replace
from ratchet.config import parse_config, read_config
from ratchet.proposers.agent import allowance_spent, allowance_stop, failures_in_a_row
from ratchet.proposers.agent_process import Usage
from ratchet.records.proposals import AgentCall, CallOutcome, Proposals
from ratchet.records.records import StopReason

FOLDER = REPO / "config"
VALUES = {**read_config(FOLDER / "config.yaml"), "proposer": "claude"}
CONFIG = parse_config(VALUES, FOLDER / "schema.yaml", "c")


def call(good: bool, slot: int = 0, attempt: int = 1, **used: float) -> AgentCall:
    outcome = CallOutcome.PROPOSED if good else CallOutcome.NO_PROPOSAL
    reason = "" if good else "it said nothing"
    made = AgentCall(slot, attempt, "claude", outcome, reason, exit_code=0)
    return replace(made, **used)


def rounds(*calls: list[AgentCall], limits: str = CONFIG.limits_token) -> list[Proposals]:
    return [Proposals(n, calls=tuple(c), limits=limits) for n, c in enumerate(calls, 1)]


BAD = [call(False), call(False, attempt=2)]
SAVED = [call(False), call(True, attempt=2)]
TWO = [call(True), call(False, slot=1), call(False, slot=1, attempt=2)]


@pytest.mark.parametrize(
    ("before", "now", "count"),
    [
        (rounds(BAD, BAD, SAVED, BAD), [], 1),
        (rounds(SAVED, BAD, [], BAD), BAD, 3),
        (rounds(BAD, TWO), [], 1),
        (rounds(BAD, BAD, limits="older"), BAD, 1),
        (rounds(BAD, limits="older"), [], 0),
    ],
)
def test_failed_proposals_are_counted_back_to_the_last_good_one(
    before: list[Proposals], now: list[AgentCall], count: int
) -> None:
    assert failures_in_a_row(CONFIG, before, now) == count
    assert failures_in_a_row(replace(CONFIG, leg=2), before, []) == 0, "another leg forgives"


def test_too_many_failures_in_a_row_end_the_session() -> None:
    assert allowance_stop(CONFIG, rounds(BAD, BAD), []) is None
    reason, detail = allowance_stop(CONFIG, rounds(BAD, BAD), BAD) or ("", "")
    assert reason is StopReason.AGENT_FAILURES
    assert "3 proposals in a row of the agent claude failed, the last because it said" in detail
    one = replace(CONFIG, agent_failures=1)
    own = rounds(BAD, limits=one.limits_token)
    assert "a proposal of the agent" in (allowance_stop(one, own, []) or ("", ""))[1]


SPENT = rounds([call(True, tokens=600, dollars=0.5)], [call(True, dollars=0.4)])
SILENT = call(True)


def test_calls_that_were_stopped_are_priced_by_those_that_were_not() -> None:
    priced, stopped = call(True, tokens=1000, dollars=0.5), call(False, tokens=800)
    capped = replace(CONFIG, agent_dollars=1.0)
    assert allowance_spent(capped, [], [priced]) is None
    reason, detail = allowance_spent(capped, [], [priced, stopped, stopped]) or ("", "")
    assert (reason, "has used 1.3 dollars" in detail) == (StopReason.AGENT_BUDGET, True)
    # Without any price the cap holds for one such call.
    alone = replace(stopped, exit_code=-15)
    assert allowance_spent(capped, [], [alone]) is None
    assert "the price of 1600 tokens" in (allowance_spent(capped, [], [alone, alone]) or "  ")[1]
    assert allowance_spent(CONFIG, [], [alone, alone]) is None
    # What a call that goes on has used counts too.
    assert allowance_spent(capped, [], [priced], Usage(10, 0.6)) is not None


@pytest.mark.parametrize(
    ("caps", "before", "now", "words"),
    [
        ({}, SPENT, [], ""),
        ({"agent_tokens": 1000}, SPENT, [], ""),
        (
            {"agent_tokens": 1000},
            SPENT,
            [call(True, tokens=400)],
            "has used 1000 tokens of the 1000 that agent_tokens allows",
        ),
        ({"agent_dollars": 0.9}, SPENT, [], "0.9 dollars of the 0.9 that agent_dollars"),
        # A cap that cannot be kept is said; a stopped call had nothing to report.
        ({"agent_tokens": 1000}, [], [], ""),
        ({"agent_tokens": 1000}, [], [SILENT], "names no tokens"),
        ({"agent_tokens": 1000}, [], [replace(SILENT, exit_code=-9)], ""),
        ({"agent_tokens": 1000}, [], [replace(SILENT, agent="codex")], ""),
    ],
)
def test_caps_hold_over_the_session(
    caps: dict[str, float], before: list[Proposals], now: list[AgentCall], words: str
) -> None:
    found = allowance_spent(replace(CONFIG, **caps), before, now)
    assert (found is None) == (not words)
    assert found is None or (found[0] is StopReason.AGENT_BUDGET and words in found[1])
