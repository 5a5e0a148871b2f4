"""What a session's events say so far.

An event that is damaged, or of a kind that is not known, is passed over.  Times
are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ratchet.codec import Struct, field
from ratchet.seeds import Role
from ratchet.status.entries import Judged, Phase, Work
from ratchet.status.pace import Event, number, seconds, whole
from ratchet.vocabulary import Status, Verdict

START = "start"
"""The step that is named when a session is refused before its first one."""

GRACE_SECONDS = 120.0
"""After a limit: to end a run, measure it, start the next step of a busy machine."""

HARNESS_SECONDS = 900.0
"""The longest silence without a run or a call: a graph of thousands of rounds, a report."""

PREPARE_SECONDS = 24 * 3600.0
"""What a task's preparation may take."""


class Standing(Struct):
    """Everything that the events so far say."""

    session: str = ""
    task: str = ""
    metric: str = ""
    device: str = ""
    proposer: str = ""
    phase: Phase = Phase.PREPARE
    round: int = 0
    rounds: int | None = None
    confirm_replicates: int = 0
    work: dict[tuple[Any, ...], Work] = field(default_factory=dict)
    baseline: float | None = None
    best: float | None = None
    noise: float | None = None
    judged: dict[int, Judged] = field(default_factory=dict)
    failed_proposals: int = 0
    runs: int = 0
    confirm_runs: int = 0
    alarms: list[str] = field(default_factory=list)
    stop: tuple[str, str] | None = None
    confirmed: dict[str, Any] | None = None
    answer: str | None = None
    page: str = "report.html"
    failure: tuple[str, str] | None = None
    reopened: bool = False
    started: float | None = None
    last: float | None = None
    last_event: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """Experiments by the three words of ``results.tsv``."""
        found = [Verdict(entry.verdict).status for entry in self.judged.values()]
        return {status.value: found.count(status) for status in Status}

    @property
    def due(self) -> float | None:
        """When the next event is to be expected at the latest."""
        if self.last is None:
            return None
        if self.work:
            limits = [(w.limit_seconds or PREPARE_SECONDS) + w.began for w in self.work.values()]
            return max(*limits, self.last) + GRACE_SECONDS
        # In a tournament others speak, in journals of their own.
        long = self.phase in (Phase.PREPARE, Phase.EVOLVING)
        return self.last + (PREPARE_SECONDS if long else HARNESS_SECONDS)

    def elsewhere(self, moment: float) -> None:
        """A competitor of this tournament was heard of after the last event here."""
        if self.last is not None and moment > self.last and self.phase is Phase.PROPOSING:
            self.phase = Phase.EVOLVING


def fold(events: Iterable[Event], into: Standing | None = None) -> Standing:
    """Take events in order; goes on from ``into``, which it changes, if that is given."""
    found, heard = into or Standing(), list[Event]()
    for event in events:
        try:
            kind = str(event["event"])
            found = _HANDLERS.get(kind, _nothing)(found, event) or found
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            continue
        heard.append(event)
        if found.started is None:
            found.started = _moment(event)
    # Only the last one's time counts: a thousand of them take milliseconds to read.
    for event in reversed(heard):
        moment = _moment(event)
        if moment is not None:
            found.last, found.last_event = moment, str(event["event"])
            break
    return found


def _moment(event: Event) -> float | None:
    try:
        return seconds(event)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        return None


# ------------------------------------------------------------------------ events


def _nothing(_: Standing, _event: Event) -> None:
    """An event that changes nothing here but that something was heard."""


def _started(_: Standing, event: Event) -> Standing:
    """All is done anew, so what was counted before does not count."""
    fresh = Standing(session=str(event["session"]), task=str(event["task"]))
    _settings(fresh, event)
    return fresh


def _settings(s: Standing, event: Event) -> None:
    s.rounds = whole(event.get("rounds")) or s.rounds
    s.confirm_replicates = whole(event.get("confirm_replicates")) or s.confirm_replicates
    for name in ("session", "task", "metric", "device", "proposer"):
        setattr(s, name, str(event.get(name) or getattr(s, name)))


def _resumed(s: Standing, event: Event) -> None:
    _settings(s, event)
    s.work.clear()
    s.failure, s.reopened = None, True


def _prepared(s: Standing, _: Event) -> None:
    s.phase, s.failure = Phase.BASELINE, None


def _baseline(s: Standing, event: Event) -> None:
    s.baseline = s.best = number(event["mean"])
    s.noise = number(event["noise"])
    s.work.clear()
    s.phase, s.round = Phase.PROPOSING, 1


def _run_started(s: Standing, event: Event) -> None:
    budget = event.get("budget") or {}
    work = Work(
        kind="run",
        number=int(event["number"]),
        description=str(event["description"]),
        role=str(event["role"]),
        replicate=int(event["replicate"]),
        began=seconds(event),
        budget_seconds=number(budget.get("seconds")),
        budget_steps=whole(budget.get("steps")),
        limit_seconds=number(budget.get("timeout_seconds")),
    )
    s.phase = _phase_of(work, s)
    s.failure = s.answer = None
    if s.phase is Phase.EXPERIMENT:
        s.stop = s.confirmed = None
    s.work[_key(event)] = work


def _phase_of(work: Work, s: Standing) -> Phase:
    if work.role == Role.RERUN:
        return Phase.RERUNNING
    if work.role == Role.CONFIRM:
        return Phase.CONFIRMING
    if s.baseline is None:
        return Phase.BASELINE
    if work.role == Role.SEARCH and work.replicate == 0:
        return Phase.EXPERIMENT
    return Phase.JUDGING


def _run_finished(s: Standing, event: Event) -> None:
    s.work.pop(_key(event), None)
    s.runs += 1
    s.confirm_runs += event["role"] == Role.CONFIRM
    if s.phase is Phase.EXPERIMENT and not s.work:
        s.phase = Phase.JUDGING


def _agent_asked(s: Standing, event: Event) -> None:
    attempt = int(event["attempt"])
    s.phase, s.round, s.failure = Phase.PROPOSING, int(event["round"]), None
    again = ", once more" if attempt > 1 else ""
    s.work["agent", event["round"], event.get("slot")] = Work(
        kind="agent",
        number=int(event["round"]),
        description=f"{event['agent']} is asked for a proposal{again}",
        role="agent",
        replicate=attempt - 1,
        began=seconds(event),
        budget_seconds=60.0 * float(event["minutes"]),
        limit_seconds=60.0 * float(event["minutes"]),
    )


def _agent_answered(s: Standing, event: Event) -> None:
    s.work.pop(("agent", event["round"], event.get("slot")), None)


def _agent_refused(s: Standing, event: Event) -> None:
    s.failed_proposals += not event["again"]


def _remeasured(s: Standing, event: Event) -> None:
    if event["alarm"]:
        s.alarms.append(f"round {event['round']}: the incumbent moved")


def _verdict(s: Standing, event: Event) -> None:
    verdict = Verdict(event["verdict"])
    judged = Judged(
        round=int(event["round"]),
        number=int(event["number"]),
        verdict=verdict.value,
        description=str(event["description"]),
        confidence=number(event.get("confidence")),
        value=number(event.get("mean")),
    )
    s.phase, s.round, s.failure, s.answer = Phase.JUDGING, judged.round, None, None
    s.rounds = whole(event.get("rounds")) or s.rounds
    s.best, s.noise = number(event["best"]), number(event["noise"])
    s.confirm_replicates = whole(event.get("confirm_replicates")) or s.confirm_replicates
    s.judged.pop(judged.number, None)  # the last verdict comes last
    s.judged[judged.number] = judged
    if verdict is Verdict.TAMPERED:
        s.alarms.append(f"round {judged.round}: experiment {judged.number} was tampered with")
        s.alarms[:] = list(dict.fromkeys(s.alarms))


def _round_finished(s: Standing, event: Event) -> None:
    done, s.rounds = int(event["round"]), whole(event.get("rounds")) or s.rounds
    s.work.clear()
    s.confirm_runs = 0
    last = s.stop is not None or (s.rounds is not None and done >= s.rounds)
    s.phase = Phase.CONFIRMING if last else Phase.PROPOSING
    s.round = done if last else done + 1


def _stopped(s: Standing, event: Event) -> None:
    s.stop = str(event["reason"]), str(event["detail"])
    s.phase = Phase.CONFIRMING
    s.confirm_runs = 0


def _confirmed(s: Standing, event: Event) -> None:
    s.confirmed = {
        **{name: number(event[name]) for name in ("gain", "low", "high")},
        "detail": str(event["detail"]),
    }
    s.work.clear()
    s.phase = Phase.REPORTING


def _reported(s: Standing, event: Event) -> None:
    s.answer = str(event["answer"])
    s.page = _PAGES.get(str(event["event"]), "report.html")
    s.work.clear()
    s.phase, s.failure, s.reopened = Phase.REPORTED, None, False


def _leg_finished(s: Standing, event: Event) -> None:
    s.work.clear()
    s.answer = f"leg {int(event['number'])} is over, {int(event['kept'])} kept"
    s.phase, s.failure = Phase.LEG_OVER, None


def _pollinated(s: Standing, event: Event) -> None:
    s.phase, s.failure = Phase.EVOLVING, None
    s.answer = f"{event['leader']} leads after round {int(event['number'])}"


def _failed(s: Standing, event: Event) -> None:
    s.failure = str(event["step"]), str(event["message"])
    if s.failure[0] != START:
        s.work.clear()


_PAGES = {"evolved": "evolve.html", "audited": "audit.html"}
_HANDLERS: dict[str, Callable[[Standing, Event], Standing | None]] = {
    "session_started": _started,
    "resumed": _resumed,
    "prepared": _prepared,
    "baseline": _baseline,
    "run_started": _run_started,
    "run_finished": _run_finished,
    "agent_asked": _agent_asked,
    "agent_answered": _agent_answered,
    "agent_refused": _agent_refused,
    "remeasured": _remeasured,
    "verdict": _verdict,
    "round_finished": _round_finished,
    "stopped": _stopped,
    "confirmed": _confirmed,
    "reported": _reported,
    "evolved": _reported,
    "audited": _reported,
    "leg_finished": _leg_finished,
    "pollinated": _pollinated,
    "failed": _failed,
}


def _key(event: Event) -> tuple[Any, ...]:
    return str(event["role"]), int(event["number"]), int(event["replicate"])
