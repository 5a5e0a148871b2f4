"""Facts of a report on who proposed: calls of agents, each proposer's record, moved constants."""

from collections.abc import Iterator, Sequence
from math import fsum

from ratchet.base.structs import to_json_values
from ratchet.base.text import one_line_label, tail_text
from ratchet.records.history import Trial
from ratchet.records.proposals import AgentCall, CallOutcome, Proposals, SetAside
from ratchet.records.records import Standing
from ratchet.report.inputs import Facts, Move, SessionRecords, total_of_runs

REASON_LIMIT = 600
REFUSAL_LOG_LIMIT = 1_500
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


def agent_calls(records: SessionRecords) -> Facts | None:
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
        "names": sorted({one_line_label(call.agent, 60) for call in calls}),
        "calls": len(calls),
        "proposals": sum(filled),
        "failed": len(filled) - sum(filled),
        "tokens": sum(tokens) if tokens else None,
        "dollars": fsum(dollars) if dollars else None,
        "stopped_late": sum(call.stopped_late for call in calls),
        "silent": sum(call.tokens is None and call.dollars is None for call in calls),
        "refusals": refusals,
        "aside": [_aside(each) for made in records.history.proposals for each in made.aside],
    }


def _aside(found: SetAside) -> Facts:
    """A draft that was not tried, since the incumbent had changed."""
    return {
        "round": found.draft.round,
        "agent": one_line_label(found.draft.proposer, 60),
        "description": one_line_label(found.draft.description, 200),
        "reason": one_line_label(found.reason, REASON_LIMIT),
    }


def _refusals(made: Proposals, records: SessionRecords) -> Iterator[Facts]:
    """The calls of one round that led to nothing, and what came of each."""

    def asked_for(call: AgentCall) -> tuple[int, int]:
        return call.round or made.round, call.slot

    later = {asked_for(c): c.experiment for c in made.calls if c.outcome is CallOutcome.PROPOSED}
    for place, call in enumerate(made.calls):
        if call.outcome is CallOutcome.PROPOSED:
            continue
        again = any(asked_for(other) == asked_for(call) for other in made.calls[place + 1 :])
        yield {
            "round": asked_for(call)[0],
            "agent": one_line_label(call.agent, 60),
            "attempt": call.attempt,
            "outcome": WORDS[call.outcome],
            "reason": one_line_label(call.reason, REASON_LIMIT),
            "sent_back": again,
            "experiment": later.get(asked_for(call)) if again else None,
            "log_tail": tail_text(records.agent_logs.get(call.log, ""), REFUSAL_LOG_LIMIT) or None,
        }


def proposer_facts(records: SessionRecords) -> list[Facts] | None:
    """Record of each proposer, by tries; ``None`` where there was only one.

    ``gain`` is the sum of the judge's estimates of what was kept, ``hours`` what its runs
    took, ``dollars`` what all its calls cost.  Another competitor's wins are nobody's here.
    """
    own: dict[str, list[Trial]] = {}
    for trial in records.history.judged:
        if not trial.proposal.origin:
            own.setdefault(trial.proposal.proposer, []).append(trial)
    if len(own) < 2:
        return None
    dollars: dict[str, float] = {}
    for call in (call for made in records.history.proposals for call in made.calls):
        if call.dollars is not None:
            dollars[call.agent] = dollars.get(call.agent, 0.0) + call.dollars
    found = [_record(name, trials, records) for name, trials in own.items()]
    found.sort(key=lambda record: (-record["tried"], record["name"]))
    return [
        {
            **record,
            "name": one_line_label(record["name"], 60),
            "dollars": dollars.get(record["name"]),
        }
        for record in found
    ]


def _record(name: str, trials: Sequence[Trial], records: SessionRecords) -> Facts:
    kept = [trial for trial in trials if trial.kept]
    known = records.history.contributions
    standings = [known[trial.number].standing for trial in kept if trial.number in known]
    runs = [run for trial in trials for run in trial.runs]
    seconds = total_of_runs(records, runs, lambda record: record.wall_seconds)
    gain = fsum(max(trial.gain or 0.0, 0.0) for trial in kept)
    hours = None if seconds is None else seconds / 3600
    return {
        "name": name,
        "tried": len(trials),
        "kept": len(kept),
        "certified": standings.count(Standing.CERTIFIED) if known else None,
        "gain": gain,
        "hours": hours,
        "gain_per_hour": gain / hours if hours else None,
    }


def move_facts(moves: Sequence[Move]) -> list[Facts]:
    """Constants that a point of an optimiser moved."""
    return [
        {key: one_line_label(value, 80) for key, value in to_json_values(move).items()}
        for move in moves
    ]
