"""Standing of a session, from its events alone."""

import contextlib
import enum
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from ratchet.base.structs import Struct, field
from ratchet.base.text import (
    decimals_for,
    finite_number,
    format_number,
    iso_time,
    median,
    one_line,
    one_line_label,
    plural,
    shorten,
    spoken_duration,
    time_ago,
    whole_number,
)
from ratchet.records.events import event_seconds, time_left
from ratchet.records.history import NO_SEED_EFFECT, SeedEffect
from ratchet.records.records import Outcome, Role, Status, Verdict
from ratchet.records.transferred import transfer_sentence

Event = Mapping[str, Any]


class Phase(enum.StrEnum):
    """Phase of a session."""

    PREPARE = "prepare"
    BASELINE = "baseline"
    PROPOSING = "proposing"
    EXPERIMENT = "experiment"
    JUDGING = "judging"
    EVOLVING = "evolving"
    LEG_OVER = "leg over"
    CONFIRMING = "confirming"
    RERUNNING = "running again"
    TRANSFERRING = "transferring"
    REPORTING = "reporting"
    REPORTED = "reported"


RUN = "run"
WAITING = "waiting"
"""Kind of the work of a run that has no device yet, or whose code is compiled before it."""


class Work(NamedTuple):
    """A run, or a call of an agent, that has begun or waits, and is not known to have ended.

    ``folder`` is that of the store in which a run writes its log until it ends, and ``pattern``
    finds its lines of progress where the task has one.  ``device`` is the GPU that it
    has, or says what it waits for.

    A tuple, since thousands of them are made anew for every view.
    """

    kind: str
    number: int
    description: str
    role: str
    replicate: int
    began: float
    budget_seconds: float | None = None
    budget_steps: int | None = None
    limit_seconds: float | None = None
    folder: str = ""
    pattern: str = ""
    device: str = ""


class JudgedExperiment(NamedTuple):
    """Decision on one experiment, by the last verdict on it."""

    round: int
    number: int
    verdict: str
    description: str
    confidence: float | None
    value: float | None
    proposer: str = ""
    diverged: bool = False


DAMAGED = (KeyError, TypeError, ValueError, OverflowError, AttributeError)
"""Errors that reading a damaged event may raise."""

START = "start"
"""The step that is named when a session is refused before its first one."""

GRACE_SECONDS = 120.0
"""After a limit: to end a run, measure it, start the next step of a busy machine."""

HARNESS_SECONDS = 900.0
"""The longest silence without a run or a call: a graph of thousands of rounds, a report."""

PREPARE_SECONDS = 24 * 3600.0
"""Longest preparation of a task."""


class SessionStanding(Struct):
    """Standing by the events so far; times are seconds since the epoch.

    ``best`` was measured: the mean of the champion's runs; ``estimate`` is the judge's.
    ``measured`` has the key of a run of each experiment, by its number.
    """

    session: str = ""
    task: str = ""
    metric: str = ""
    device: str = ""
    proposer: str = ""
    phase: Phase = Phase.PREPARE
    round: int = 0
    rounds: int | None = None
    confirm_replicates: int = 0
    transfer_runs: int = 0
    transfer_weight: float | None = None
    work: dict[tuple[Any, ...], Work] = field(default_factory=dict)
    baseline: float | None = None
    best: float | None = None
    estimate: float | None = None
    noise: float | None = None
    judged: dict[int, JudgedExperiment] = field(default_factory=dict)
    failed_proposals: int = 0
    incumbent: int = 0
    measured: dict[int, str] = field(default_factory=dict)
    runs: int = 0
    repeated: int = 0
    confirm_runs: int = 0
    alarms: list[str] = field(default_factory=list)
    stop: tuple[str, str] | None = None
    confirmed: dict[str, Any] | None = None
    certified: int | None = None
    transferred: dict[str, Any] | None = None
    transferred_runs: int = 0
    answer: str | None = None
    page: str = "report.html"
    mirror_failure: str = ""
    failure: tuple[str, str] | None = None
    reopened: bool = False
    started: float | None = None
    last: float | None = None
    last_event: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """Experiments by the three words of ``results.tsv``, and those of them that diverged."""
        found = [Verdict(entry.verdict).status for entry in self.judged.values()]
        lost = sum(entry.diverged for entry in self.judged.values())
        return {**{status.value: found.count(status) for status in Status}, "diverged": lost}

    @property
    def incumbent_run(self) -> str:
        """Key of a run of the incumbent; empty before there is one."""
        return self.measured.get(self.incumbent, "")

    @property
    def due(self) -> float | None:
        """Latest time of the next event."""
        if self.last is None:
            return None
        if self.work:
            limits = [(w.limit_seconds or PREPARE_SECONDS) + w.began for w in self.work.values()]
            return max(*limits, self.last) + GRACE_SECONDS
        # In a tournament others speak, in journals of their own; at another scale data may
        # have to be prepared.
        long = self.phase in (Phase.PREPARE, Phase.EVOLVING, Phase.TRANSFERRING)
        return self.last + (PREPARE_SECONDS if long else HARNESS_SECONDS)

    def elsewhere(self, moment: float) -> None:
        """A competitor of this tournament was heard of after the last event here."""
        if self.last is not None and moment > self.last and self.phase is Phase.PROPOSING:
            self.phase = Phase.EVOLVING


def fold_events(events: Iterable[Event], into: SessionStanding | None = None) -> SessionStanding:
    """Take events in order; goes on from ``into``, which it changes, if that is given.

    An event that is damaged, or of a kind that is not known, is passed over.
    """
    found, heard = into or SessionStanding(), list[Event]()
    for event in events:
        with contextlib.suppress(*DAMAGED):
            if event["event"] == "session_started":
                # A session that starts again counts anew.
                found = SessionStanding(session=str(event["session"]), task=str(event["task"]))
            _take(found, event)
            heard.append(event)
            if found.started is None:
                found.started = event_seconds(event)
    # Only the last one's time counts: a thousand of them take milliseconds to read.
    for event in reversed(heard):
        with contextlib.suppress(*DAMAGED):
            found.last, found.last_event = event_seconds(event), str(event["event"])
            break
    return found


def _take(s: SessionStanding, event: Event) -> None:
    """Change a standing by one event."""
    match event["event"]:
        case "session_started":
            _settings(s, event)
        case "resumed":
            _settings(s, event)
            s.work.clear()
            s.failure, s.reopened = None, True
        case "prepared":
            s.phase, s.failure = Phase.BASELINE, None
        case "baseline":
            s.baseline = s.best = s.estimate = finite_number(event["mean"])
            s.noise = finite_number(event["noise"])
            _runs_ended(s)
            s.phase, s.round = Phase.PROPOSING, 1
        case "run_started" | "guard_started":
            _run_started(s, event)
        case "run_waiting":
            _run_waits(s, event, str(event["why"]))
        case "warm_up_started":
            # It has its device by now.
            _run_waits(s, event, "compiling first")
        case "guard_finished":
            s.work.pop(_key(event), None)
        case "run_finished":
            _measured(s, event)
            _run_finished(s, event)
        case "run_replayed":
            s.work.pop(_key(event), None)
            _measured(s, event)
        case "agent_asked":
            _agent_asked(s, event)
        case "agent_answered":
            s.work.pop(("agent", event["round"], event.get("slot")), None)
        case "agent_waiting":
            _agent_waiting(s, event)
        case "agent_refused":
            s.failed_proposals += not event["again"]
        case "remeasured" if event["alarm"]:
            s.alarms.append(f"round {event['round']}: the incumbent moved")
        case "verdict":
            _verdict(s, event)
        case "round_finished":
            _round_finished(s, event)
        case "stopped":
            s.stop = str(event["reason"]), str(event["detail"])
            s.phase, s.confirm_runs = Phase.CONFIRMING, 0
        case "confirmed":
            numbers = {name: finite_number(event[name]) for name in ("gain", "low", "high")}
            told = {name: event.get(name) for name in ("standing", "data", "search", "unseen")}
            s.confirmed = {**numbers, **told, "detail": str(event["detail"])}
            s.work.clear()
            awaited = s.transfer_runs and s.confirmed["gain"] is not None
            s.phase = Phase.TRANSFERRING if awaited else Phase.REPORTING
        case "transferring":
            s.phase, s.failure, s.transferred = Phase.TRANSFERRING, None, None
            s.transfer_runs, s.transferred_runs = int(event["runs"]), 0
        case "transferred":
            s.transferred = {name: event.get(name) for name in _TRANSFERRED}
            s.work.clear()
            s.phase = Phase.REPORTING
        case "certified":
            s.certified = whole_number(event["certified"])
        case "reported" | "evolved" | "audited":
            _reported(s, event)
        case "mirror_failed":
            s.mirror_failure = str(event["reason"])
        case "mirror_works":
            s.mirror_failure = ""
        case "leg_finished":
            s.work.clear()
            s.answer = f"leg {int(event['number'])} is over, {int(event['kept'])} kept"
            s.phase, s.failure = Phase.LEG_OVER, None
        case "pollinated":
            s.phase, s.failure = Phase.EVOLVING, None
            s.answer = f"{event['leader']} leads after round {int(event['number'])}"
        case "failed":
            s.failure = str(event["step"]), str(event["message"])
            if s.failure[0] != START:
                s.work.clear()


_TRANSFERRED = (
    *("standing", "scale", "gain", "low", "high", "level", "data", "search", "unseen"),
    *("share", "share_low", "share_high", "detail"),
)
"""Facts of a comparison at another scale that a standing shows."""


def _settings(s: SessionStanding, event: Event) -> None:
    s.rounds = whole_number(event.get("rounds")) or s.rounds
    s.confirm_replicates = whole_number(event.get("confirm_replicates")) or s.confirm_replicates
    s.transfer_runs = whole_number(event.get("transfer_runs")) or 0
    for name in ("session", "task", "metric", "device", "proposer"):
        setattr(s, name, str(event.get(name) or getattr(s, name)))


def _run_started(s: SessionStanding, event: Event) -> None:
    budget = event.get("budget") or {}
    work = _run(event, RUN)._replace(
        budget_seconds=finite_number(budget.get("seconds")),
        budget_steps=whole_number(budget.get("steps")),
        limit_seconds=finite_number(budget.get("timeout_seconds")),
        folder=str(event.get("folder") or ""),
        pattern=str(event.get("curve") or ""),
        device=_device(event.get("device")),
    )
    s.phase = _phase_of(work, s)
    s.failure = s.answer = None
    if s.phase is Phase.EXPERIMENT:
        s.stop = s.confirmed = s.certified = s.transferred = None
    s.work[_key(event)] = work


def _device(told: Any) -> str:
    """A run's GPU by its number; empty where none is told."""
    index = whole_number(told.get("index")) if isinstance(told, Mapping) else None
    return "" if index is None else f"GPU {index}"


def _run_waits(s: SessionStanding, event: Event, why: str) -> None:
    s.failure = s.answer = None
    s.work[_key(event)] = _run(event, WAITING)._replace(device=why)


def _run(event: Event, kind: str) -> Work:
    return Work(
        kind=kind,
        number=int(event["number"]),
        description=str(event["description"]),
        role=str(event["role"]),
        replicate=int(event["replicate"]),
        began=event_seconds(event),
    )


def _phase_of(work: Work, s: SessionStanding) -> Phase:
    if work.role == Role.RERUN:
        return Phase.RERUNNING
    if work.role == Role.CONFIRM:
        return Phase.CONFIRMING
    if work.role == Role.TRANSFER:
        return Phase.TRANSFERRING
    if s.baseline is None:
        return Phase.BASELINE
    guards = work.role == Role.GUARD and work.number
    if guards or (work.role == Role.SEARCH and work.replicate == 0):
        return Phase.EXPERIMENT
    return Phase.JUDGING


def _measured(s: SessionStanding, event: Event) -> None:
    if event["role"] == Role.SEARCH and event.get("value") is not None:
        s.measured[int(event["number"])] = str(event["key"])


def _run_finished(s: SessionStanding, event: Event) -> None:
    s.work.pop(_key(event), None)
    if event.get("again"):
        s.repeated += 1
        return
    s.runs += 1
    s.confirm_runs += event["role"] == Role.CONFIRM
    s.transferred_runs += event["role"] == Role.TRANSFER
    if s.phase is Phase.EXPERIMENT and not any(w.kind == RUN for w in s.work.values()):
        s.phase = Phase.JUDGING


def _runs_ended(s: SessionStanding) -> None:
    """No run is at work any more; an agent may be, for a round to come."""
    s.work = {key: work for key, work in s.work.items() if work.kind == "agent"}


def _agent_asked(s: SessionStanding, event: Event) -> None:
    attempt, number = int(event["attempt"]), int(event["round"])
    s.failure = None
    # One that is asked ahead changes nothing of where the session stands.
    if s.baseline is not None and number <= max(s.round, 1):
        s.phase, s.round = Phase.PROPOSING, number
    again = ", once more" if attempt > 1 else ""
    s.work["agent", event["round"], event.get("slot")] = Work(
        kind="agent",
        number=number,
        description=f"{event['agent']} is asked for round {number}{again}",
        role="agent",
        replicate=attempt - 1,
        began=event_seconds(event),
        budget_seconds=60.0 * float(event["minutes"]),
        limit_seconds=60.0 * float(event["minutes"]),
    )


def _agent_waiting(s: SessionStanding, event: Event) -> None:
    pause, words = float(event["seconds"]), str(event["words"])
    said = f" (“{words}”)" if words else ""
    s.work["agent", event["round"], event.get("slot")] = Work(
        kind="agent",
        number=int(event["round"]),
        description=f"{event['agent']} is waited for, {event['why']}{said}",
        role="agent",
        replicate=0,
        began=event_seconds(event),
        budget_seconds=pause,
        limit_seconds=pause,
    )


def _verdict(s: SessionStanding, event: Event) -> None:
    verdict = Verdict(event["verdict"])
    judged = JudgedExperiment(
        round=int(event["round"]),
        number=int(event["number"]),
        verdict=verdict.value,
        description=_title(event),
        confidence=finite_number(event.get("confidence")),
        value=finite_number(event.get("mean")),
        proposer=str(event.get("proposer") or ""),
        diverged=bool(event.get("diverged")),
    )
    s.phase, s.round, s.failure, s.answer = Phase.JUDGING, judged.round, None, None
    s.rounds = whole_number(event.get("rounds")) or s.rounds
    for name in ("best", "estimate", "noise"):
        setattr(s, name, finite_number(event.get(name)))
    s.confirm_replicates = whole_number(event.get("confirm_replicates")) or s.confirm_replicates
    s.transfer_weight = finite_number(event.get("transfer_weight"))
    if verdict.is_keep:
        s.incumbent = judged.number
    s.judged.pop(judged.number, None)  # the last verdict comes last
    s.judged[judged.number] = judged
    if verdict is Verdict.TAMPERED:
        s.alarms.append(f"round {judged.round}: experiment {judged.number} was tampered with")
        s.alarms[:] = list(dict.fromkeys(s.alarms))


def _title(event: Event) -> str:
    said = f" ({Outcome.DIVERGED})" if event.get("diverged") else ""
    return f"{event['description']}{said}"


def best_words(event: Event) -> str:
    """What a verdict leaves as the best: measured, with the noise floor, and estimated."""
    noise = "" if event["noise"] is None else f" ± {event['noise']:.4f}"
    return f"{event['best']:.4f}{noise}, estimate {event['estimate']:.4f}"


def _round_finished(s: SessionStanding, event: Event) -> None:
    done, s.rounds = int(event["round"]), whole_number(event.get("rounds")) or s.rounds
    _runs_ended(s)
    s.confirm_runs = 0
    last = s.stop is not None or (s.rounds is not None and done >= s.rounds)
    s.phase = Phase.CONFIRMING if last else Phase.PROPOSING
    s.round = done if last else done + 1


def _reported(s: SessionStanding, event: Event) -> None:
    s.answer = str(event["answer"])
    s.page = _PAGES.get(str(event["event"]), "report.html")
    if event.get("seed_effect") == SeedEffect.NONE:  # known at the end at the latest
        s.noise = None
        s.judged = {n: entry._replace(confidence=None) for n, entry in s.judged.items()}
    s.work.clear()
    s.phase, s.failure, s.reopened = Phase.REPORTED, None, False


_PAGES = {"evolved": "evolve.html", "audited": "audit.html"}


def _key(event: Event) -> tuple[Any, ...]:
    return str(event["role"]), int(event["number"]), int(event["replicate"])


HAND = "hand"


class SessionRunState(enum.StrEnum):
    """State of a session: is there anything to wait for, or to do?"""

    RUNNING = "running"
    WAITING = "waiting"
    FINISHED = "finished"
    STALE = "stale"
    FAILED = "failed"


def session_state(
    standing: SessionStanding, now: float, owned: bool | None, command: str = "snakemake --cores 1"
) -> tuple[SessionRunState, str]:
    """State of a session, and the reason if it does not run.

    ``owned``: whether a living process holds it (``None``: cannot be known here,
    then the age of the last event decides).
    """
    state, reported = SessionRunState, standing.phase is Phase.REPORTED
    if standing.failure is not None:
        step, message = standing.failure
        # A second start that is refused stops no session that runs or is finished.
        if step != START or not (owned or reported):
            return state.FAILED, f"{step}: {message}"
    if reported and not (standing.reopened and owned):
        return state.FINISHED, ""
    if standing.phase is Phase.LEG_OVER:
        return (state.FINISHED, "") if owned is False else (state.WAITING, "for its next leg")
    last = f"its last event is {time_ago(max(0.0, now - (standing.last or now)))}"
    if owned is False:
        if standing.proposer == HAND and not standing.work and standing.baseline is not None:
            return state.WAITING, "for your next edit: ratchet try"
        return state.STALE, f"nobody runs it, {last}; go on with: {command}"
    if standing.due is not None and now > standing.due:
        todo = "see whether the machine hangs" if owned else f"go on with: {command}"
        return state.STALE, f"{last}, the next was due {time_ago(now - standing.due)}; {todo}"
    return state.RUNNING, ""


def standing_facts(
    standing: SessionStanding, now: float, found: tuple[SessionRunState, str], left: float | None
) -> dict[str, Any]:
    """Facts of a standing as JSON values; ``left`` are the seconds to the end, if known."""
    s, (word, why) = standing, found
    return {
        "session": s.session,
        "task": s.task,
        "metric": s.metric,
        "device": s.device,
        "state": word.value,
        "why": why,
        "phase": s.phase.value,
        "round": s.round,
        "rounds": s.rounds,
        "current": [
            {**w._asdict(), "elapsed_seconds": max(0.0, now - w.began)} for w in s.work.values()
        ],
        "incumbent_run": s.incumbent_run,
        "baseline": s.baseline,
        "best": s.best,
        "estimate": s.estimate,
        "noise": s.noise,
        "verdicts": [entry._asdict() for entry in reversed(list(s.judged.values()))],
        "counts": {"experiments": len(s.judged), **s.counts},
        "proposers": proposer_counts(s),
        "failed_proposals": s.failed_proposals,
        "runs": s.runs,
        "repeated": s.repeated,
        "alarms": list(s.alarms),
        "mirror_failure": s.mirror_failure or None,
        "stop": None if s.stop is None else dict(zip(("reason", "detail"), s.stop, strict=True)),
        "confirmed": s.confirmed,
        "certified": s.certified,
        "transferred": s.transferred,
        "answer": s.answer,
        "page": s.page,
        "started": iso_time(s.started),
        "last_event": {
            "event": s.last_event,
            "time": iso_time(s.last),
            "seconds_ago": None if s.last is None else max(0.0, now - s.last),
        },
        "seconds_left": left,
    }


def proposer_counts(standing: SessionStanding) -> list[dict[str, Any]]:
    """Tries and keeps of each proposer, in the order in which they were first heard of."""
    found: dict[str, list[bool]] = {}
    for entry in standing.judged.values():
        if entry.proposer:
            kept = Verdict(entry.verdict).status is Status.KEEP
            found.setdefault(entry.proposer, []).append(kept)
    return [{"name": name, "tried": len(kept), "kept": sum(kept)} for name, kept in found.items()]


def seconds_left(events: Sequence[Event], standing: SessionStanding, now: float) -> float | None:
    """Seconds to the end of a running session; ``None`` while its pace is not known."""
    if standing.phase in (Phase.REPORTING, Phase.REPORTED):
        return 0.0
    walls, there = (
        [
            wall
            for e in events
            if e["event"] == "run_finished" and (e.get("role") == Role.TRANSFER) is elsewhere
            if (wall := finite_number(e.get("wall_seconds"))) is not None
        ]
        for elsewhere in (False, True)
    )
    weight = standing.transfer_weight
    further = float(standing.transfer_runs) if weight is None else weight
    if standing.phase is Phase.CONFIRMING:
        missing = 2 * standing.confirm_replicates - standing.confirm_runs + further
        return max(0.0, missing * median(walls)) if walls else None
    if standing.phase is Phase.TRANSFERRING:
        missing = standing.transfer_runs - standing.transferred_runs
        if there:
            return max(0.0, missing * median(there))
        return further * median(walls) if walls else None
    if standing.phase in (Phase.EVOLVING, Phase.LEG_OVER, Phase.RERUNNING):
        return None
    last = next((e for e in reversed(events) if e["event"] == "verdict"), None)
    whole = None if last is None else time_left(events, last)
    return None if whole is None or last is None else max(0.0, whole - (now - event_seconds(last)))


Facts = Mapping[str, Any]
LONGEST_NAME = 80
LONGEST_REASON = 300
SHOWN_ALARMS = 3
DOING = {
    "prepare": "preparing inputs",
    "baseline": "measuring the baseline",
    "proposing": "proposing",
    "experiment": "experiment",
    "judging": "judging",
    "evolving": "competitors at work",
    "leg over": "leg over",
    "confirming": "confirming the champion",
    "transferring": "comparing the champion at another scale",
    "running again": "running kept changes again",
    "reporting": "writing the report",
    "reported": "reported",
}


def progress_line(found: Facts) -> str:
    """State and phase in one line."""
    state, phase = found["state"], found["phase"]
    if state == "finished":
        answer = one_line(str(found["answer"]))
        return f"finished: {answer}"
    if state == "waiting":
        return f"waiting {one_line(found['why'])}"
    return f"{state}, {phase_line(found)}" if phase != "reported" else state


def phase_line(found: Facts) -> str:
    """The phase, with the round where there is one."""
    phase = DOING[found["phase"]]
    if found["phase"] in ("proposing", "experiment", "judging"):
        rounds = f"/{found['rounds']}" if found["rounds"] else ""
        return f"round {found['round']}{rounds}: {phase}"
    if found["phase"] == "evolving" and found["answer"]:
        return f"{phase}; {one_line(found['answer'])}"
    if found["stop"] and found["phase"] == "confirming":
        return f"{phase} (ended early: {one_line(found['stop']['reason']).replace('_', ' ')})"
    return phase


def current_work(found: Facts) -> list[str]:
    """Work that goes on: each run or call with its age and its budget."""
    return [", ".join(filter(None, _work_parts(work))) for work in found["current"]]


def _work_parts(work: Mapping[str, Any]) -> tuple[str, ...]:
    """Name, device or what it waits for, and age of one run or call."""
    return work_name(work), one_line_label(work.get("device") or ""), work_age(work)


def standing_rows(found: Facts) -> list[tuple[str, str]]:
    """Rows of name and text: the best so far, counts, an early end, alarms, time left."""
    rows, digits = [], decimals_for(found["noise"], found["best"])
    if found["best"] is not None:
        names = ("best", "noise", "estimate", "baseline")
        best, noise, believed, base = (format_number(found[name], digits) for name in names)
        metric = f"{one_line_label(found['metric'], 24)} " if found["metric"] else ""
        spread = "" if found["noise"] is None else f" ± {noise}"
        rows.append(("best", f"{metric}{best}{spread}, estimate {believed}, baseline {base}"))
        if found["noise"] is None:
            rows.append(("noise", f"unknown; {NO_SEED_EFFECT}"))
    rows.append(("tried", f"{tried_counts(found)} ({found['runs']} runs)"))
    if len(found["proposers"]) > 1:
        said = (
            f"{one_line_label(p['name'], 24)} {p['kept']} of {p['tried']}"
            for p in found["proposers"]
        )
        rows.append(("kept by", ", ".join(said)))
    if found["repeated"]:
        rows.append(("busy", f"{plural(found['repeated'], 'slowed run')} made again"))
    if found["transferred"]:
        digits_of = partial(format_number, decimals=digits)
        rows.append(("scale", one_line(transfer_sentence(found["transferred"], digits_of))))
    if found["stop"]:
        rows.append(("ended", f"early: {one_line_label(found['stop']['detail'])}"))
    if found["mirror_failure"]:
        reason = one_line_label(found["mirror_failure"], LONGEST_REASON)
        rows.append(("MIRROR", f"has not all of it: {reason}"))
    rows += [("ALARM", one_line_label(text)) for text in found["alarms"][-SHOWN_ALARMS:]]
    if found["state"] == "running":
        left = found["seconds_left"]
        known = "not known yet" if left is None else f"about {spoken_duration(left)}"
        rows.append(("left", known))
    return rows


def work_name(work: Mapping[str, Any]) -> str:
    """One run, or call of an agent."""
    # What comes after it says how long it takes, which must not be cut away.
    name, count = shorten(one_line(work["description"]), LONGEST_NAME), work["replicate"] + 1
    if work["kind"] == "agent":
        return name
    if work["role"] == Role.RERUN:
        return f"{name}, seed {count}"
    if work["role"] == Role.CONFIRM:
        return f"{name}, fresh seed {count}"
    if work["role"] == Role.TRANSFER:
        return f"{name} at another scale, fresh seed {count}"
    if work["role"] == Role.REMEASURE:
        return f"{name}, once more"
    if not work["number"]:
        return f"{name}, run {count}"
    return f"experiment {work['number']}: {name}" + (f", run {count}" if count > 1 else "")


def work_age(work: Mapping[str, Any]) -> str:
    """Time since it began, and its budget."""
    spent = spoken_duration(work["elapsed_seconds"])
    if work["budget_seconds"] is not None:
        return f"{spent} of {spoken_duration(work['budget_seconds'])}"
    if work["budget_steps"] is not None:
        return f"{spent}, {work['budget_steps']} steps"
    return spent


def tried_counts(found: Facts) -> str:
    """Number of experiments by how they ended."""
    n, certified = found["counts"], found["certified"]
    kept = f"{n['keep']} kept" + ("" if certified is None else f" ({certified} certified)")
    text = f"{n['experiments']}: {kept}, {n['discard']} discarded, {n['crash']} crashed"
    text += f", {n['diverged']} of them diverged" if n.get("diverged") else ""
    failed = found["failed_proposals"]
    return text + (f"; {failed} failed proposals" if failed else "")


def decision_word(entry: Mapping[str, Any]) -> str:
    """``keep``, ``discard`` or ``crash``, for one verdict."""
    return Verdict(entry["verdict"]).status.value
