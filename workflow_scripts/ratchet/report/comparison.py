"""Sessions of one task side by side: progress, time to reach a value, what each one found.

Pure: no file, no clock.  The command and its page show these facts and nothing else.  Only
sessions that measured the same thing are compared: metric, direction, budget and evaluation
data must agree; what else differs is said.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import fsum
from statistics import fmean
from typing import Any, NamedTuple

from ratchet.base.errors import DataError
from ratchet.base.structs import Frozen
from ratchet.base.text import DASH, format_number, one_line_label, safe_json
from ratchet.proposers.declared import changed_lines
from ratchet.records.confirmed import GainStanding, confirmed_gain
from ratchet.records.history import History, Trial
from ratchet.records.records import Direction, Manifest, RunSummary, Standing, incumbent_runs
from ratchet.report.inputs import Facts, metric_facts
from ratchet.steering.code_diff import code_differences

FORMAT = 1

MOST_SESSIONS = 6
"""More lines in one figure cannot be told apart by colour and dash."""

SHARES = (0.25, 0.5, 1.0)
"""Shares of a session's own gain whose times are told."""

MOST_PARSED = 600
"""Changes of one session whose code is parsed for what they touch, some milliseconds each; a
longer session's later ones are matched by their edits alone."""

MOST_FINDS = 60
"""Kept changes of one session that are listed."""


class ComparedSession(Frozen):
    """Records of one session: ``walls`` has the wall seconds of its runs, by key.

    ``name`` tells it from the others, ``budget`` is that of a run, ``texts`` gives mutable files
    by their digests.
    """

    name: str
    manifest: Manifest
    metric: str
    unit: str | None
    direction: Direction
    mode: str
    budget: Mapping[str, float | None]
    history: History
    walls: Mapping[str, float | None]
    texts: Callable[[Mapping[str, str]], Mapping[str, str]]
    ended: str = ""

    @property
    def evaluation(self) -> dict[str, str]:
        """Digests of the data that the metric is measured on, by name."""
        data = self.manifest.evaluation or self.manifest.data
        return {entry.path: entry.sha256 for entry in data}


def check_comparable(sessions: Sequence[ComparedSession]) -> None:
    """Raise :class:`DataError` for sessions that did not measure the same thing."""
    first = sessions[0]
    for other in sessions[1:]:
        for what, read in _AGREE:
            expected, found = read(first), read(other)
            if expected != found:
                shown = (
                    one_line_label(_shown(each, (expected, found))) for each in (expected, found)
                )
                mine, theirs = shown
                raise DataError(
                    f"sessions {first.name} and {other.name} cannot be compared: expected the same "
                    f"{what}, found {mine} and {theirs}; choose sessions of one task, metric, "
                    "budget and data"
                )


def _shown(value: Any, both: tuple[Any, Any]) -> str:
    """A value in words; of a mapping what is not in both."""
    if not isinstance(value, Mapping):
        return str(value)
    other = both[1] if value is both[0] else both[0]
    differing = {name: text for name, text in value.items() if other.get(name) != text}
    return ", ".join(f"{name} {text}"[:60] for name, text in differing.items()) or "none"


_AGREE: tuple[tuple[str, Callable[[ComparedSession], Any]], ...] = (
    ("metric", lambda s: s.metric),
    ("direction of the metric", lambda s: s.direction.value),
    ("budget of a run", lambda s: {k: v for k, v in s.budget.items() if v is not None}),
    ("evaluation data", lambda s: s.evaluation),
)


class Point(NamedTuple):
    """The incumbent once some runs were made: the judge's estimate and its sd."""

    runs: int
    hours: float | None
    number: int
    value: float
    sd: float | None


def trajectory(session: ComparedSession) -> list[Point]:
    """The incumbent after the baseline and after each round; each run counts once.

    ``hours`` are wall hours of runs, whether made or taken from the store; ``None`` from the
    first run on whose time is not known.
    """
    history = session.history
    points: list[Point] = []
    known = dict.fromkeys(run.key for run in history.baseline.runs)

    def add(number: int, value: float, sd: float | None) -> None:
        points.append(Point(len(known), _hours(session, known), number, value, sd))

    values = history.start.values
    if values:
        add(0, fmean(values), None)
    for verdict, state in zip(history.verdicts, history.states[1:], strict=False):
        made: Iterator[RunSummary] = (run for each in verdict.rulings for run in each.runs)
        known.update(dict.fromkeys(run.key for run in made))
        known.update(dict.fromkeys(run.key for run in incumbent_runs(verdict)))
        held = state.incumbent
        add(held.number, held.mean, held.sd if history.noise_sd is not None else None)
    return points


def _hours(session: ComparedSession, keys: Iterable[str]) -> float | None:
    found = [session.walls.get(key) for key in keys]
    walls = [seconds for seconds in found if seconds is not None]
    return fsum(walls) / 3600 if len(walls) == len(found) else None


def reached(points: Sequence[Point], value: float, sign: int) -> Facts | None:
    """The first point at which a value was reached; ``None`` if it never was."""
    for point in points:
        if sign * point.value <= sign * value:
            return {"runs": point.runs, "hours": point.hours, "number": point.number}
    return None


def compare_sessions(sessions: Sequence[ComparedSession], levels: Sequence[float] = ()) -> Facts:
    """All facts of a comparison as JSON values; ``levels`` are values to be reached.

    Raises :class:`DataError` for sessions that cannot be compared.
    """
    check_comparable(sessions)
    first = sessions[0]
    sign = first.direction.sign
    lines = {session.name: trajectory(session) for session in sessions}
    floors = [sd for session in sessions if (sd := session.history.noise_sd) is not None]
    starts = [points[0].value for points in lines.values() if points]
    noise = fmean(floors) if floors else None
    facts: Facts = {
        "format": FORMAT,
        "metric": metric_facts(
            *(first.metric, first.unit, first.direction),
            *(noise, fmean(starts) if starts else None),
        ),
        "budget": dict(first.budget),
        "noise_sd": noise,
        "baseline": fmean(starts) if starts else None,
        "sessions": [_session(session, lines[session.name]) for session in sessions],
        "trajectories": {
            name: [point._asdict() for point in points] for name, points in lines.items()
        },
        "levels": _levels(lines, sign, levels),
        "own_gain": {name: _own_gain(points, sign) for name, points in lines.items()},
        "found": _finds(sessions),
        "differ": [one_line_label(line, 400) for line in differences(sessions)],
    }
    safe: Facts = safe_json(facts)
    return safe


def _session(session: ComparedSession, points: Sequence[Point]) -> Facts:
    """One row: what it tried, what it cost, where it began and ended."""
    history = session.history
    judged, found = history.judged, history.confirmation
    status = [trial.status for trial in judged]
    runs = dict.fromkeys(run.key for run in history.runs)
    held = history.states[-1].incumbent if history.states else None
    start, end = (points[0].value, points[-1].value) if points else (None, None)
    added = history.contributions.values()
    return {
        "name": one_line_label(session.name, 80),
        "session": one_line_label(session.manifest.session, 80),
        "task": one_line_label(session.manifest.task, 80),
        "experiments": len(judged),
        "kept": sum(word == "keep" for word in status),
        "crashed": sum(word == "crash" for word in status),
        "certified": sum(c.standing is Standing.CERTIFIED for c in added) if added else None,
        "runs": len(runs),
        "hours": _hours(session, runs),
        "baseline": start,
        "best": held and held.measured,
        "best_number": held and held.number,
        "estimate": end,
        "search_gain": None
        if start is None or end is None
        else session.direction.sign * (start - end),
        "confirmed": None if found is None else confirmed_gain(found),
        "noise_sd": history.noise_sd,
        "ended": one_line_label(session.ended, 80),
        "proposers": _proposers(judged),
        "machine": one_line_label(_machine(session.manifest), 120),
    }


def _proposers(judged: Sequence[Trial]) -> list[Facts]:
    """Tries and keeps of each proposer."""
    found: dict[str, list[bool]] = {}
    for trial in judged:
        found.setdefault(one_line_label(trial.proposal.proposer, 60), []).append(trial.kept)
    return [{"name": name, "tried": len(kept), "kept": sum(kept)} for name, kept in found.items()]


def _machine(manifest: Manifest) -> str:
    shown = manifest.hardware.get("gpu") or manifest.hardware.get("cpu")
    if isinstance(shown, Mapping):
        shown = shown.get("name") or shown.get("model")
    return str(shown or manifest.hardware.get("class") or "")


def _levels(
    lines: Mapping[str, Sequence[Point]], sign: int, wanted: Sequence[float]
) -> list[Facts]:
    """Values with the cost at which each session reached them; first the best of all."""
    ends = [points[-1].value for points in lines.values() if points]
    common = [sign * max(sign * end for end in ends)] if len(ends) == len(lines) else []
    return [
        {
            "value": value,
            "of": "all" if place < len(common) else "asked",
            "reached": {name: reached(points, value, sign) for name, points in lines.items()},
        }
        for place, value in enumerate([*common, *wanted])
    ]


def _own_gain(points: Sequence[Point], sign: int) -> list[Facts]:
    """The cost of a quarter, half and all of a session's own gain; none without a gain."""
    if not points or sign * (points[0].value - points[-1].value) <= 0:
        return []
    start, end = points[0].value, points[-1].value
    levels = [(share, end if share == 1 else start + share * (end - start)) for share in SHARES]
    return [
        {"share": share, "value": value, "reached": reached(points, value, sign)}
        for share, value in levels
    ]


class _Change(NamedTuple):
    """A tried change: ``lines`` are those that it removes and adds, ``names`` what it touches."""

    trial: Trial
    lines: tuple[str, ...]
    names: frozenset[str]


def _finds(sessions: Sequence[ComparedSession]) -> Facts:
    """Kept changes of each session, and what became of the same changes in the others.

    Two changes are the *same* where they remove and add the same lines, and *alike* where
    they touch the same constants and definitions.  What an optimiser moves at once is a set
    of constants.
    """
    tried = {session.name: list(_changes(session)) for session in sessions}
    return {
        session.name: [
            _find(change, session, {n: some for n, some in tried.items() if n != session.name})
            for change in _best_first(tried[session.name], session.history)[:MOST_FINDS]
        ]
        for session in sessions
    }


def _best_first(tried: Iterable[_Change], history: History) -> list[_Change]:
    """Kept changes: the certified ones first, then by gain."""
    added = history.contributions

    def key(change: _Change) -> tuple[bool, float]:
        fresh = added.get(change.trial.number)
        gain = fresh.gain if fresh else change.trial.gain or 0.0
        return fresh is None or fresh.standing is not Standing.CERTIFIED, -gain

    return sorted((change for change in tried if change.trial.kept), key=key)


def _changes(session: ComparedSession) -> Iterator[_Change]:
    history = session.history
    sources = history.sources
    for place, trial in enumerate(history.judged):
        lines = tuple(" ".join(line.split()) for line in changed_lines(trial.proposal.diff))
        edit = trial.proposal.edit
        if edit is not None:
            names = frozenset(edit.values or [edit.name])
        elif place < MOST_PARSED and trial.proposal.parent in sources:
            names = touched_names(
                session.texts(sources[trial.proposal.parent]), session.texts(trial.files)
            )
        else:
            names = frozenset()
        yield _Change(trial, lines, names)


def touched_names(old: Mapping[str, str], new: Mapping[str, str]) -> frozenset[str]:
    """Constants and definitions that differ between two versions of some files.

    Of a file that is no Python, or cannot be read as such, its name.
    """
    found: set[str] = set()
    for name in sorted({*old, *new}):
        before, after = old.get(name, ""), new.get(name, "")
        if before == after:
            continue
        differ = code_differences(before, after) if name.endswith(".py") else None
        touched = (*differ.constants, *differ.definitions) if differ else ()
        found.update(touched or [name])
    return frozenset(found)


def _find(
    change: _Change, session: ComparedSession, others: Mapping[str, Sequence[_Change]]
) -> Facts:
    trial = change.trial
    fresh = session.history.contributions.get(trial.number)
    return {
        "number": trial.number,
        "description": one_line_label(trial.description),
        "category": one_line_label(trial.category, 60),
        "names": [one_line_label(name, 80) for name in sorted(change.names)[:12]],
        "gain": trial.gain,
        "standing": fresh.standing.value if fresh else None,
        "fresh_gain": fresh.gain if fresh else None,
        "fresh_low": fresh.low if fresh else None,
        "fresh_high": fresh.high if fresh else None,
        "elsewhere": {name: _elsewhere(change, some) for name, some in others.items()},
    }


def _elsewhere(change: _Change, tried: Sequence[_Change]) -> Facts | None:
    """The change of another session that comes nearest; ``None`` if it never tried one.

    The same comes before what is alike; of each what was kept comes first.
    """
    same = [other for other in tried if change.lines and other.lines == change.lines]
    alike = [other for other in tried if change.names and other.names == change.names]
    if not same and not alike:
        return None
    how = "same" if same else "alike"
    other = min(same or alike, key=lambda each: not each.trial.kept)
    trial = other.trial
    return {
        "how": how,
        "number": trial.number,
        "kept": trial.kept,
        "verdict": trial.word,
        "gain": trial.gain,
        "description": one_line_label(trial.description, 120),
    }


def differences(sessions: Sequence[ComparedSession]) -> Iterator[str]:
    """What differs beside what was found, in words; these may be why results differ."""
    for what, read in _MAY_DIFFER:
        values = {session.name: read(session) for session in sessions}
        if len(set(values.values())) > 1:
            yield f"{what}: " + ", ".join(
                f"{name} {value or 'none'}" for name, value in values.items()
            )
    for what, digests in _FILES:
        found = [digests(session) for session in sessions]
        names = sorted({name for each in found for name in each})
        differing = [name for name in names if len({each.get(name) for each in found}) > 1]
        if differing:
            yield f"{what}: {', '.join(differing[:8])}" + (" and more" if differing[8:] else "")


def _setting(name: str) -> Callable[[ComparedSession], str]:
    return lambda session: str(session.manifest.frozen.get(name, ""))


_MAY_DIFFER: tuple[tuple[str, Callable[[ComparedSession], str]], ...] = (
    ("task", lambda s: s.manifest.task),
    ("mode of the judge", lambda s: s.mode),
    (
        "proposers",
        lambda s: " and ".join(
            dict.fromkeys(trial.proposal.proposer for trial in s.history.judged)
        ),
    ),
    ("seed", _setting("seed")),
    ("preset", lambda s: s.manifest.preset.name if s.manifest.preset else ""),
    ("machine", lambda s: _machine(s.manifest)),
    (
        "started from",
        lambda s: (
            f"{s.manifest.start.session}:{s.manifest.start.number}" if s.manifest.start else ""
        ),
    ),
)

_FILES: tuple[tuple[str, Callable[[ComparedSession], dict[str, str]]], ...] = (
    ("fixed files that differ", lambda s: {f.path: f.sha256 for f in s.manifest.fixed}),
    ("baseline code that differs", lambda s: {f.path: f.sha256 for f in s.manifest.baseline}),
    ("training data that differ", lambda s: {f.path: f.sha256 for f in s.manifest.data}),
    ("data of the audit that differ", lambda s: {f.path: f.sha256 for f in s.manifest.locked}),
)


def answer(facts: Facts) -> str:
    """The comparison in one sentence: by gains of fresh runs, or else by the search's."""
    rows = facts["sessions"]
    fresh = [row for row in rows if (row["confirmed"] or {}).get("gain") is not None]
    missing = ", ".join(row["name"] for row in rows if row not in fresh)
    if fresh:
        best = max(fresh, key=lambda row: row["confirmed"]["gain"])
        others = [row["confirmed"] for row in fresh if row is not best]
        lead = "has the largest gain" if others else "alone has a gain"
        said = f"{best['name']} {lead} by fresh runs"
        if best["confirmed"]["standing"] != GainStanding.CONFIRMED:
            said += ", and it is not confirmed"
        elif others:
            said += f"; {_apart(best['confirmed'], others)}"
        return said + (f"; none of {missing} yet" if missing else "")
    known = [row for row in rows if row["search_gain"] is not None]
    if not known:
        return "no session has a measured baseline yet"
    best = max(known, key=lambda row: row["search_gain"])
    return (
        f"{best['name']} leads by the judge's estimate of the search, which flatters; nothing is "
        "confirmed by fresh runs"
    )


def _apart(best: Facts, others: Sequence[Facts]) -> str:
    """Whether the interval of the largest gain is above all others."""
    ends = [each["high"] for each in others]
    if best["low"] is None or None in ends:
        return "without intervals, chance may be why"
    if best["low"] > max(ends):
        return "clearly so: the intervals are apart"
    return "their intervals overlap, so chance may be why"


def elsewhere_words(found: Facts | None, decimals: int) -> str:
    """What became of a change in another session."""
    if found is None:
        return "never tried"
    what = "the same" if found["how"] == "same" else "another value or form"
    fate = "kept" if found["kept"] else "not kept"
    gain = format_number(found["gain"], decimals, signed=True)
    return f"{what}, {fate}" + ("" if found["gain"] is None else f", gain {gain}")


def hours_words(hours: float | None) -> str:
    """Hours of runs in a unit that people would use."""
    if hours is None:
        return DASH
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{60 * hours:.1f} min" if hours >= 1 / 60 else f"{3600 * hours:.0f} s"


def reached_words(found: Facts | None) -> str:
    """The cost at which a value was reached."""
    if found is None:
        return "not reached"
    return f"{found['runs']} runs, {hours_words(found['hours'])}"
