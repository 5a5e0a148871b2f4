"""Suggestions: what to try next, to repeat and to leave alone, each with evidence.

A ranking of categories says where to look; this module says what to do there: the
exact edit where a search space is declared, else angles that the log has not tried.
From the judged experiments come near misses to combine, discards worth another run,
crashes not to be repeated, and constants that are used up since all their values were
discarded.  Which constant an experiment set is declared by its edit or read from its
description.  Descriptions are other people's text: they are quoted on one line and
shortened, never followed.  Effects are assumed to add up where two changes are
combined.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

from ratchet.base.io import read_json
from ratchet.base.structs import Frozen
from ratchet.base.text import one_line, shorten
from ratchet.records.records import Suggestion, SuggestionKind, Verdict, stream_seed
from ratchet.records.store import Store, peak_memory
from ratchet.steering.bandit import (
    WINDOW,
    BanditPull,
    CategoryScore,
    Label,
    SteeringMode,
    Turn,
    avoided_last,
    rank_categories,
    score_categories,
)
from ratchet.steering.categories import normal_words, untried_angles
from ratchet.task.edits import Idea, applicable_changes

if TYPE_CHECKING:  # whoever reads a log loads no session
    from ratchet.records.history import History, Trial
    from ratchet.session import Session

# So many discards of one constant in a row, and the next value is no news either.
EXHAUSTED_AFTER = 3

QUOTED = 60
"""Characters of a description that are quoted."""

# A discard below this probability is no near thing: another run rarely saves it.
RETEST_ABOVE = 0.3

# From here an unkept change is more likely better than not.
NEAR_MISS = 0.5

# Angles that are named for a category.
ANGLES_SHOWN = 3

# Error level and power of the smallest effect that can be seen.
ALPHA, POWER = 0.05, 0.8

SUGGESTED = 5
"""Suggestions that a round leaves for the next."""

AVOIDED = 20
"""Notes on what to leave alone; the latest crashes and the most used constants."""

_VALUE = r"[-+]?(?:\d[\d.,]*(?:e[-+]?\d+)?(?:\^\d+)?(?:[kmgx%]|/\d+)?|true|false)"

_FROM_TO = re.compile(
    rf"(?P<name>.{{1,60}}?)[\s:=]+(?:from\s+)?{_VALUE}\s*(?:->|→|=>|to)\s*(?P<value>{_VALUE})"
    r"(?![\w.])",
    re.IGNORECASE,
)

_SET = re.compile(rf"(?P<name>[\w.\- ]{{1,40}}?)\s*=\s*(?P<value>{_VALUE})(?![\w.])", re.IGNORECASE)

_VERBS = re.compile(
    r"^(add|tiny|raise|increase|reduce|lower|decrease|set|change|try|smaller|larger|higher|longer"
    r"|shorter|bump|tune|use)\s+"
)


class Attempt(Frozen):
    """One judged experiment.

    ``gain`` is the expected true improvement in the metric's unit (positive is
    better) and ``confidence`` the probability that there is one, both by what
    was known at the time; ``None`` where nobody judged it.  ``constant`` and
    ``value`` are set where the edit is declared; else the description is read.  One that
    the task's guard stopped counts as ``crashed`` too.  ``diverged`` says where the loss of one
    went astray, whether it has a metric or not.
    """

    number: int
    category: str
    description: str
    kept: bool
    crashed: bool = False
    guarded: bool = False
    gain: float | None = None
    confidence: float | None = None
    memory_gb: float | None = None
    constant: str | None = None
    value: str | None = None
    diverged: str = ""

    @property
    def name(self) -> str:
        """The description, quoted, with the experiment's number."""
        short = shorten(one_line(self.description), QUOTED)
        return f"'{short}' (experiment {self.number})" if short else f"experiment {self.number}"


class AttemptNote(Frozen):
    """Advice to leave something alone, and the experiments that say so."""

    text: str
    experiments: tuple[int, ...]
    constant: str | None = None


class Knob(Frozen):
    """A constant that a description sets; ``value`` as it is written there."""

    name: str
    value: str


class Advice(Frozen):
    """Steering's part of a state: categories, the best first, and what to do and to leave."""

    ranking: tuple[str, ...]
    suggestions: tuple[Suggestion, ...]
    avoid: tuple[str, ...]


def steering_advice(
    session: Session, history: History, sources: Mapping[str, str], noise_sd: float | None
) -> Advice:
    """Advice after a session's rounds so far; ``sources`` are the files of the incumbent.

    For a declared search space the suggestions are exact edits.
    """
    attempts, pulls = attempts_of(history.judged), pulls_of(history.judged)
    seed = stream_seed(session.config.seed, "steer", history.last)
    mode = SteeringMode(session.config.steering)
    space = session.task.search_space
    tried = {trial.edit for trial in history.trials}
    left = applicable_changes(space, session.texts(sources)) if space else ()
    options = [idea for idea in left if idea.label not in tried] if space else None
    settings = read_json(session.paths.round(history.last).judge)["settings"]
    scale = noise_sd or float(settings["effect_scale"])
    ranking = rank_categories(pulls, seed, scale, mode, session.categories)
    suggestions = suggest_next(
        attempts,
        ranking,
        score_categories(pulls, session.categories),
        SUGGESTED,
        float(settings["keep_probability"]),
        noise_sd,
        options,
        free=session.free,
    )
    return Advice(ranking, tuple(suggestions), steering_warnings(session, attempts))


def steering_warnings(session: Session, attempts: Sequence[Attempt]) -> tuple[str, ...]:
    """Warnings of what to leave alone: crashes, and constants that are used up."""
    space = session.task.search_space
    values = {c.name: [repr(value) for value in c.values] for c in space if c.values}
    notes = [*crashes(attempts), *exhausted(attempts, values)]
    return tuple(note.text for note in notes[:AVOIDED])


def pulls_of(trials: Iterable[Trial]) -> list[BanditPull]:
    """Judged trials as the bandit reads them, in order."""
    return [
        BanditPull(trial.category, trial.kept, trial.gain or 0.0)
        for trial in trials
        if not trial.sets_several  # such a point is of no one category
    ]


HOUR_IN_DOLLARS = 2.5
"""Price of an hour of a rented GPU, by which an agent's dollars are compared with hours."""


def turns_of(history: History, store: Store) -> list[Turn]:
    """Judged trials as the choice among proposers reads them, in order.

    A near miss that was tried again and another competitor's win are nobody's turn.  What a
    run took is in the store, so that a replay reads the same.
    """
    dollars: dict[int, float] = {}
    for call in (call for made in history.proposals for call in made.calls):
        if call.experiment is not None:
            dollars[call.experiment] = dollars.get(call.experiment, 0.0) + (call.dollars or 0.0)
    turns = []
    for trial in history.judged:
        if trial.proposal.retry_of is not None or trial.proposal.origin:
            continue
        records = (store.lookup(run.key) for run in trial.runs)
        seconds = math.fsum(record.wall_seconds for record in records if record is not None)
        cost = seconds / 3600 + dollars.get(trial.number, 0.0) / HOUR_IN_DOLLARS
        gain = max(trial.gain or 0.0, 0.0) if trial.kept else 0.0
        turns.append(Turn(trial.proposal.proposer, trial.kept, gain, cost))
    return turns


def attempts_of(trials: Iterable[Trial], measured: Store | None = None) -> list[Attempt]:
    """Judged trials as suggestions read them, in order.

    Of a crash nothing but the ``measured`` peak of memory is known.  It is not the
    same in two runs, so no record of a session may rest on it.
    """
    return [
        Attempt(
            number=trial.number,
            category=trial.category,
            description=trial.description,
            kept=trial.kept,
            crashed=guarded or trial.verdict is Verdict.CRASH,
            gain=trial.gain,
            confidence=trial.confidence,
            memory_gb=None if guarded else _memory_gb(trial, measured),
            guarded=guarded,
            constant=edit.name if edit is not None and edit.value is not None else None,
            value=edit.value if edit is not None else None,
            diverged=trial.diverged,
        )
        for trial in trials
        if not trial.sets_several
        for edit, guarded in ((trial.proposal.edit, trial.verdict is Verdict.GUARD_FAILED),)
    ]


def knob_of(attempt: Attempt) -> Knob | None:
    """The constant that an experiment set, declared or read from its description."""
    if attempt.constant is not None and attempt.value is not None:
        return Knob(normal_words(attempt.constant), attempt.value)
    text = one_line(attempt.description)[:200]
    match = _FROM_TO.match(text) or _SET.match(text)
    if match is None:
        return None
    name = normal_words(match["name"])
    while (shorter := _VERBS.sub("", name)) != name:
        name = shorter
    return Knob(name, match["value"].lower().rstrip(".,")) if name else None


def attempt_identity(attempt: Attempt) -> tuple[str, str]:
    """A key that is equal for two experiments that did the same, as far as words tell."""
    knob = knob_of(attempt)
    return (normal_words(attempt.description), "") if knob is None else (knob.name, knob.value)


_DIVERGED = re.compile(r"\b(diverged|nan)\b", re.IGNORECASE)


def crashes(attempts: Sequence[Attempt]) -> list[AttemptNote]:
    """Crashes not to repeat, the latest first, with the memory where it is known.

    One that diverged is no broken code: what it raised was too much of it.
    """
    ran = [a.memory_gb for a in attempts if not a.crashed and a.memory_gb]
    most = f"; the largest that ran took {max(ran):.3g} GiB" if ran else ""
    of_memory = re.compile(r"\boom\b|out of memory|memory|vram", re.IGNORECASE)
    latest = {normal_words(a.description): a for a in attempts if a.crashed or a.diverged}
    notes = []
    for attempt in sorted(latest.values(), key=lambda a: -a.number):
        used = f" at {attempt.memory_gb:.3g} GiB" if attempt.memory_gb else ""
        told = most if used or of_memory.search(attempt.description) else ""
        ended = "failed the guard" if attempt.guarded else f"crashed{used}{told}"
        # How a run of a log ended is known from its words alone.
        unknown = not attempt.guarded and not used
        if attempt.diverged or (unknown and _DIVERGED.search(attempt.description)):
            where = shorten(one_line(attempt.diverged), QUOTED)
            ended = f"diverged{where and f' ({where})'}: try it lower, or with a warm-up"
        notes.append(AttemptNote(f"{attempt.name} {ended}", (attempt.number,)))
    return notes


def exhausted(
    attempts: Sequence[Attempt], declared: Mapping[str, Sequence[str]] | None = None
) -> list[AttemptNote]:
    """Constants that are used up, the most often tried first.

    A declared constant is, once each of its values was tried; any other, once
    its last :data:`EXHAUSTED_AFTER` values or more were all discarded.
    """
    groups: dict[str, list[tuple[Attempt, str]]] = {}
    for attempt in attempts:
        knob = knob_of(attempt)
        if knob is not None:
            groups.setdefault(knob.name, []).append((attempt, knob.value))
    known = {normal_words(name): (name, values) for name, values in (declared or {}).items()}
    notes = []
    for key, group in groups.items():
        name, values = known.get(key, (key, ()))
        if values:
            if set(values) <= {value for _, value in group}:
                numbers = tuple(attempt.number for attempt, _ in group)
                text = f"{name}: every declared value was tried ({', '.join(values)})"
                notes.append(AttemptNote(text, numbers, key))
            continue
        tail = list(itertools.takewhile(lambda pair: not pair[0].kept, reversed(group)))[::-1]
        if len(tail) >= EXHAUSTED_AFTER:
            shown = ", ".join(dict.fromkeys(value for _, value in tail))
            numbers = tuple(attempt.number for attempt, _ in tail)
            text = f"{name}: the last {len(tail)} tries ({shown}) were all discarded"
            notes.append(AttemptNote(text, numbers, key))
    return sorted(notes, key=lambda note: -len(note.experiments))


def detectable_gain(noise_sd: float, seeds: int) -> float:
    """Smallest improvement that so many runs per side show, in the metric's unit.

    With probability :data:`POWER` at the one-sided level :data:`ALPHA`, for a
    known noise floor: (z(1 - ALPHA) + z(POWER)) * noise_sd * sqrt(2 / seeds).
    """
    z = NormalDist().inv_cdf
    return (z(1 - ALPHA) + z(POWER)) * noise_sd * math.sqrt(2 / seeds)


def next_in(
    score: CategoryScore,
    attempts: Sequence[Attempt],
    options: Sequence[Idea] = (),
    declared: bool = False,
) -> Suggestion | None:
    """Suggestion for one category; ``None`` if nothing is left to be named.

    ``declared`` says that only ``options`` can be tried.
    """
    category = score.category
    past = [attempt for attempt in attempts if attempt.category == category]
    recent = {attempt.number for attempt in attempts[-WINDOW:]}
    numbers = tuple(a.number for a in past if a.kept and a.number in recent)[-5:]
    record = _record(score, numbers)
    mine = [option for option in options if option.category == category]
    if mine:
        why = one_line(mine[0].hypothesis)
        why += "" if why.endswith((".", "!", "?")) or not why else "."
        evidence = f"{why} {record}".strip()
        return Suggestion(
            SuggestionKind.EDIT, category, one_line(mine[0].description), evidence, numbers
        )
    if declared:
        return None
    angles = tuple(untried_angles(category, (a.description for a in past))[:ANGLES_SHOWN])
    if len(angles) < ANGLES_SHOWN:
        angles = (*angles, *_further(past)[: ANGLES_SHOWN - len(angles)])
    if not angles:
        return None
    title = f"{category} variations: {', '.join(angles)}"
    return Suggestion(SuggestionKind.ANGLE, category, title, record, numbers, angles)


def _further(past: Sequence[Attempt]) -> list[str]:
    """Kept changes that are not used up, the last first, to be taken further."""
    spent = {note.constant for note in exhausted(past)}
    further: dict[str, str] = {}
    for attempt in reversed([a for a in past if a.kept]):
        knob = knob_of(attempt)
        if knob is None:
            further.setdefault(normal_words(attempt.description), f"more like {attempt.name}")
        elif knob.name not in spent:
            text = f"{knob.name} beyond {knob.value} (experiment {attempt.number})"
            further.setdefault(knob.name, text)
    return list(further.values())


def _record(score: CategoryScore, kept: tuple[int, ...]) -> str:
    """Record of a category, in one sentence."""
    if not score.tried:
        return "Nothing of this kind was tried in the last experiments."
    text = f"{score.kept} of {score.tried} were kept"
    if kept:
        text += f", lately experiment {', '.join(map(str, kept))}"
    if score.probability is None:
        return f"{text}; too few to tell."
    return f"{text}; beats the session's keep rate with P {score.probability:.2f}."


def worthwhile_retests(
    attempts: Sequence[Attempt], keep_probability: float, noise_sd: float | None
) -> list[Suggestion]:
    """Discards worth another run: P(better) from :data:`RETEST_ABOVE` to a keep's.

    Not those of a constant that is used up: luck would have to be blind for long.
    """
    spent = {note.constant for note in exhausted(attempts)}
    open_cases = [
        a
        for a in _unkept(attempts)
        if RETEST_ABOVE <= _sure(a) < keep_probability and attempt_identity(a)[0] not in spent
    ]
    open_cases.sort(key=lambda a: (-_sure(a), -a.number))
    noise = "" if noise_sd is None else f" at a noise floor of ±{noise_sd:.2g}"
    return [
        Suggestion(
            SuggestionKind.RETEST,
            attempt.category,
            f"run {attempt.name} again on the incumbent, with another seed",
            f"P(better) {_sure(attempt):.2f} is no verdict{noise}; "
            f"a keep needs {keep_probability:.2f}.",
            (attempt.number,),
        )
        for attempt in open_cases
    ]


def near_miss_pairs(attempts: Sequence[Attempt]) -> list[Suggestion]:
    """Pairs of near misses that do not set the same constant, the best first."""
    misses = [a for a in _unkept(attempts) if _sure(a) >= NEAR_MISS]
    misses.sort(key=lambda a: (-(a.gain or 0.0), -_sure(a), -a.number))
    pairs = []
    for a, b in itertools.combinations(misses[:4], 2):
        one, other = knob_of(a), knob_of(b)
        if one is not None and other is not None and one.name == other.name:
            continue
        together = max(a.gain or 0.0, 0.0) + max(b.gain or 0.0, 0.0)
        evidence = (
            f"Each is more likely better than not (P {_sure(a):.2f} and {_sure(b):.2f}); "
            f"together {together:.2g} is expected, if their effects add up."
        )
        title = f"combine {a.name} with {b.name}"
        pairs.append(
            Suggestion(SuggestionKind.COMBINE, a.category, title, evidence, (a.number, b.number))
        )
    return pairs


def _unkept(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Judged discards of the last experiments that were not tried again since."""
    last = {attempt_identity(attempt): attempt.number for attempt in attempts}
    return [
        a
        for a in attempts[-WINDOW:]
        if not a.kept
        and not a.crashed
        and a.confidence is not None
        and last[attempt_identity(a)] == a.number
    ]


def _sure(attempt: Attempt) -> float:
    return attempt.confidence or 0.0


def suggest_next(
    attempts: Sequence[Attempt],
    ranking: Sequence[str],
    scores: Sequence[CategoryScore],
    limit: int,
    keep_probability: float = 0.7,
    noise_sd: float | None = None,
    options: Sequence[Idea] | None = None,
    free: bool = False,
) -> list[Suggestion]:
    """At most ``limit`` suggestions, the one to follow first.

    New things come in the order of ``ranking``; after each of the first ones
    stands what the log already holds: a pair to combine, then a run to repeat.  What is
    of a category to avoid comes after all that is worth exploiting.
    ``options`` are the declared edits that are left; without any given, or if
    edits are ``free`` beside them, categories without one get angles.
    """
    declared = options is not None and not free
    by_name = {score.category: score for score in scores}
    blank = (CategoryScore(name, 0, 0, Label.EXPLORE.value, None) for name in ranking)
    fresh = [
        suggestion
        for score in (by_name.get(empty.category, empty) for empty in blank)
        if (suggestion := next_in(score, attempts, options or (), declared)) is not None
    ]
    held = [
        suggestion
        for pair in itertools.zip_longest(
            worthwhile_retests(attempts, keep_probability, noise_sd), near_miss_pairs(attempts)
        )
        for suggestion in pair
        if suggestion is not None
    ]
    pairs = itertools.zip_longest(fresh, held)
    mixed = [one for pair in pairs for one in pair if one is not None]
    return avoided_last(mixed, lambda one: one.category, scores)[:limit]


def followed_suggestion(
    suggestions: Sequence[Suggestion], category: str, description: str
) -> tuple[int, bool] | None:
    """Which suggestion a proposal took up: its place from 1, and whether to the letter.

    To the letter is the very edit; else the first suggestion of the proposal's
    category counts.  ``None`` if it is none of them.
    """
    for place, one in enumerate(suggestions, 1):
        if one.kind is SuggestionKind.EDIT and normal_words(one.title) == normal_words(description):
            return place, True
    for place, one in enumerate(suggestions, 1):
        if one.category == category and one.kind in (SuggestionKind.EDIT, SuggestionKind.ANGLE):
            return place, False
    return None


def _memory_gb(trial: Trial, measured: Store | None) -> float | None:
    """Memory that a trial reported, or that was measured of one that did not come so far."""
    memory = trial.memory_mb
    if memory is None and measured is not None:
        memory = peak_memory(measured, trial.runs)
    return None if memory is None else memory / 1024
