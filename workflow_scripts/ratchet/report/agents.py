"""What an agent was asked, what it used, and what it did that could not be tried."""

from __future__ import annotations

from math import fsum

from ratchet.proposals import AgentCall, Proposals
from ratchet.records import CallOutcome
from ratchet.report import text
from ratchet.report.inputs import Facts, SessionRecords

REASON_LIMIT = 600
LOG_LIMIT = 1_500
LOGS = 30
"""The last refusals whose logs are shown; the session's folder has all."""

WORDS = {
    CallOutcome.NO_PROPOSAL: "no proposal",
    CallOutcome.EMPTY: "empty diff",
    CallOutcome.FORBIDDEN: "forbidden file",
    CallOutcome.DUPLICATE: "duplicate",
    CallOutcome.UNREADABLE: "unreadable",
    CallOutcome.TIMEOUT: "too slow",
}


def agents(records: SessionRecords) -> Facts | None:
    """The calls of agents; ``None`` in a session without any."""
    rounds = [made for made in records.history.proposals if made.calls]
    calls = [call for made in rounds for call in made.calls]
    if not calls:
        return None
    filled = [done for made in rounds for done in made.slots.values()]
    tokens = [call.tokens for call in calls if call.tokens is not None]
    dollars = [call.dollars for call in calls if call.dollars is not None]
    refusals = [entry for made in rounds for entry in _refusals(made, records)]
    for entry in refusals[:-LOGS]:
        entry["log_tail"] = None
    return {
        "names": sorted({text.label(call.agent, 60) for call in calls}),
        "calls": len(calls),
        "proposals": sum(filled),
        "failed": len(filled) - sum(filled),
        "tokens": sum(tokens) if tokens else None,
        "dollars": fsum(dollars) if dollars else None,
        "silent": sum(call.tokens is None and call.dollars is None for call in calls),
        "refusals": refusals,
    }


def _refusals(made: Proposals, records: SessionRecords) -> list[Facts]:
    """The calls of one round that led to nothing, and what came of each."""
    later = {c.slot: c.experiment for c in made.calls if c.outcome is CallOutcome.PROPOSED}
    found = []
    for place, call in enumerate(made.calls):
        if call.outcome is CallOutcome.PROPOSED:
            continue
        again = any(other.slot == call.slot for other in made.calls[place + 1 :])
        found.append(
            {
                "round": made.round,
                "agent": text.label(call.agent, 60),
                "attempt": call.attempt,
                "outcome": WORDS[call.outcome],
                "reason": text.label(call.reason, REASON_LIMIT),
                "sent_back": again,
                "experiment": later.get(call.slot) if again else None,
                "log_tail": _log(call, records),
            }
        )
    return found


def _log(call: AgentCall, records: SessionRecords) -> str | None:
    return text.tail(records.agent_logs.get(call.log, ""), LOG_LIMIT) or None
