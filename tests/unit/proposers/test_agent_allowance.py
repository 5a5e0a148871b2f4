"""When an agent is asked no more: failures in a row, tokens, dollars."""

from __future__ import annotations

from helpers import REPO
from ratchet.base.structs import replace
from ratchet.config import parse_config, read_config
from ratchet.proposers.agent import allowance_spent, allowance_stop, failures_in_a_row
from ratchet.records.records import AgentCall, CallOutcome, Proposals, StopReason

FOLDER = REPO / "config"
DEFAULTS = read_config(FOLDER / "config.yaml")
CONFIG = parse_config({**DEFAULTS, "proposer": "claude"}, FOLDER / "schema.yaml", "c")


def call(good: bool, slot: int = 0, attempt: int = 1, **used: object) -> AgentCall:
    outcome = CallOutcome.PROPOSED if good else CallOutcome.NO_PROPOSAL
    reason = "" if good else "it said nothing"
    return AgentCall(slot, attempt, "claude", outcome, reason, exit_code=0, **used)  # type: ignore[arg-type]


def rounds(*calls: list[AgentCall], limits: str = CONFIG.limits_token) -> list[Proposals]:
    return [Proposals(n, calls=tuple(c), limits=limits) for n, c in enumerate(calls, 1)]


BAD = [call(False), call(False, attempt=2)]
SAVED = [call(False), call(True, attempt=2)]


def test_failed_proposals_are_counted_back_to_the_last_good_one() -> None:
    assert failures_in_a_row(CONFIG, rounds(BAD, BAD, SAVED, BAD), []) == 1
    assert failures_in_a_row(CONFIG, rounds(SAVED, BAD, [], BAD), BAD) == 3
    two = [call(True), call(False, slot=1), call(False, slot=1, attempt=2)]
    assert failures_in_a_row(CONFIG, rounds(BAD, two), []) == 1


def test_a_change_of_limits_forgives() -> None:
    before = rounds(BAD, BAD, limits="older")
    assert failures_in_a_row(CONFIG, before, BAD) == 1
    assert failures_in_a_row(replace(CONFIG, leg=2), rounds(BAD, BAD, BAD), []) == 0


def test_too_many_failures_in_a_row_end_the_session() -> None:
    assert allowance_stop(CONFIG, rounds(BAD, BAD), []) is None
    reason, detail = allowance_stop(CONFIG, rounds(BAD, BAD), BAD) or ("", "")
    assert reason is StopReason.AGENT_FAILURES
    assert "3 proposals in a row of the agent claude failed, the last because it said" in detail
    one = replace(CONFIG, agent_failures=1)
    own = rounds(BAD, limits=one.limits_token)
    assert "a proposal of the agent" in (allowance_stop(one, own, []) or ("", ""))[1]


def test_caps_hold_over_the_session() -> None:
    spent = rounds([call(True, tokens=600, dollars=0.5)], [call(True, dollars=0.4)])
    assert allowance_spent(CONFIG, spent, []) is None
    tokens = replace(CONFIG, agent_tokens=1000)
    assert allowance_spent(tokens, spent, []) is None
    reason, detail = allowance_spent(tokens, spent, [call(True, tokens=400)]) or ("", "")
    assert reason is StopReason.AGENT_BUDGET
    assert "has used 1000 tokens of the 1000 that agent_tokens allows" in detail
    dollars = allowance_spent(replace(CONFIG, agent_dollars=0.9), spent, [])
    assert "0.9 dollars of the 0.9 that agent_dollars" in (dollars or ("", ""))[1]


def test_a_cap_that_cannot_be_kept_is_said() -> None:
    capped = replace(CONFIG, agent_tokens=1000)
    assert allowance_spent(capped, [], []) is None
    silent = call(True)
    assert "names no tokens" in (allowance_spent(capped, [], [silent]) or ("", ""))[1]
    stopped = replace(silent, exit_code=-9)
    assert allowance_spent(capped, [], [stopped]) is None
    another = replace(silent, agent="codex")
    assert allowance_spent(capped, [], [another]) is None
