"""What to try next, what to repeat, and what to leave alone, each with evidence.

A ranking of categories says where to look; this module says what to do there:
the exact edit where a search space is declared, else angles that the log has not
tried.  From the judged experiments come near misses to combine, discards worth
another run; :mod:`ratchet.attempts` says what to leave alone.  Effects are assumed
to add up where two changes are combined.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from statistics import NormalDist

from ratchet.advice import Kind, Suggestion
from ratchet.attempts import Attempt, exhausted, identity, knob_of
from ratchet.categories.angles import untried
from ratchet.categories.words import normal
from ratchet.codec import Frozen
from ratchet.results_tsv import one_line
from ratchet.steer import WINDOW, CategoryScore, Label

# A discard below this probability is no near thing: another run rarely saves it.
RETEST_ABOVE = 0.3
# From here an unkept change is more likely better than not.
NEAR_MISS = 0.5
# Angles that are named for a category.
ANGLES_SHOWN = 3
# Error level and power of the smallest effect that can be seen.
ALPHA, POWER = 0.05, 0.8


class Option(Frozen):
    """A declared edit that can still be tried, such as ``BETA2 0.999 -> 0.95``."""

    category: str
    edit: str
    why: str = ""


def detectable(noise_sd: float, seeds: int) -> float:
    """Smallest improvement that so many runs per side show, in the metric's unit.

    With probability :data:`POWER` at the one-sided level :data:`ALPHA`, for a
    known noise floor: (z(1 - ALPHA) + z(POWER)) * noise_sd * sqrt(2 / seeds).
    """
    z = NormalDist().inv_cdf
    return (z(1 - ALPHA) + z(POWER)) * noise_sd * math.sqrt(2 / seeds)


def next_in(
    score: CategoryScore,
    attempts: Sequence[Attempt],
    options: Sequence[Option] = (),
    declared: bool = False,
) -> Suggestion | None:
    """What to try in one category; ``None`` if nothing is left to be named.

    ``declared`` says that only ``options`` can be tried.
    """
    category = score.category
    past = [attempt for attempt in attempts if attempt.category == category]
    recent = {attempt.number for attempt in attempts[-WINDOW:]}
    numbers = tuple(a.number for a in past if a.kept and a.number in recent)[-5:]
    record = _record(score, numbers)
    mine = [option for option in options if option.category == category]
    if mine:
        why = one_line(mine[0].why)
        why += "" if why.endswith((".", "!", "?")) or not why else "."
        evidence = f"{why} {record}".strip()
        return Suggestion(Kind.EDIT, category, one_line(mine[0].edit), evidence, numbers)
    if declared:
        return None
    angles = tuple(untried(category, (a.description for a in past))[:ANGLES_SHOWN])
    if len(angles) < ANGLES_SHOWN:
        angles = (*angles, *_further(past)[: ANGLES_SHOWN - len(angles)])
    if not angles:
        return None
    title = f"{category} variations: {', '.join(angles)}"
    return Suggestion(Kind.ANGLE, category, title, record, numbers, angles)


def _further(past: Sequence[Attempt]) -> list[str]:
    """What was kept last and is not used up, to be taken further."""
    spent = {note.constant for note in exhausted(past)}
    found: dict[str, str] = {}
    for attempt in reversed([a for a in past if a.kept]):
        knob = knob_of(attempt)
        if knob is None:
            found.setdefault(normal(attempt.description), f"more like {attempt.name}")
        elif knob.name not in spent:
            text = f"{knob.name} beyond {knob.value} (experiment {attempt.number})"
            found.setdefault(knob.name, text)
    return list(found.values())


def _record(score: CategoryScore, kept: tuple[int, ...]) -> str:
    """What is known of a category, in one sentence."""
    if not score.tried:
        return "Nothing of this kind was tried in the last experiments."
    text = f"{score.kept} of {score.tried} were kept"
    if kept:
        text += f", lately {_listed(kept)}"
    if score.probability is None:
        return f"{text}; too few to tell."
    return f"{text}; beats the session's keep rate with P {score.probability:.2f}."


def retests(
    attempts: Sequence[Attempt], keep_probability: float, noise_sd: float | None
) -> list[Suggestion]:
    """Discards worth another run: P(better) from :data:`RETEST_ABOVE` to a keep's.

    Not those of a constant that is used up: luck would have to be blind for long.
    """
    spent = {note.constant for note in exhausted(attempts)}
    found = [
        a
        for a in _unkept(attempts)
        if RETEST_ABOVE <= _sure(a) < keep_probability and identity(a)[0] not in spent
    ]
    found.sort(key=lambda a: (-_sure(a), -a.number))
    noise = "" if noise_sd is None else f" at a noise floor of ±{noise_sd:.2g}"
    return [
        Suggestion(
            Kind.RETEST,
            attempt.category,
            f"run {attempt.name} again on the incumbent, with another seed",
            f"P(better) {_sure(attempt):.2f} is no verdict{noise}; "
            f"a keep needs {keep_probability:.2f}.",
            (attempt.number,),
        )
        for attempt in found
    ]


def combinations(attempts: Sequence[Attempt]) -> list[Suggestion]:
    """Pairs of near misses that do not set the same constant, the best first."""
    misses = [a for a in _unkept(attempts) if _sure(a) >= NEAR_MISS]
    misses.sort(key=lambda a: (-(a.gain or 0.0), -_sure(a), -a.number))
    found = []
    for a, b in itertools.combinations(misses[:4], 2):
        one, other = knob_of(a), knob_of(b)
        same = one is not None and other is not None and one.name == other.name
        if same:
            continue
        together = max(a.gain or 0.0, 0.0) + max(b.gain or 0.0, 0.0)
        evidence = (
            f"Each is more likely better than not (P {_sure(a):.2f} and {_sure(b):.2f}); "
            f"together {together:.2g} is expected, if their effects add up."
        )
        title = f"combine {a.name} with {b.name}"
        found.append(Suggestion(Kind.COMBINE, a.category, title, evidence, (a.number, b.number)))
    return found


def _unkept(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Judged discards of the last experiments that were not tried again since."""
    last = {identity(attempt): attempt.number for attempt in attempts}
    return [
        a
        for a in attempts[-WINDOW:]
        if not a.kept
        and not a.crashed
        and a.confidence is not None
        and last[identity(a)] == a.number
    ]


def _sure(attempt: Attempt) -> float:
    return attempt.confidence or 0.0


def suggest(
    attempts: Sequence[Attempt],
    ranking: Sequence[str],
    scores: Sequence[CategoryScore],
    limit: int,
    keep_probability: float = 0.7,
    noise_sd: float | None = None,
    options: Sequence[Option] | None = None,
    free: bool = False,
) -> list[Suggestion]:
    """At most ``limit`` suggestions, the one to follow first.

    New things come in the order of ``ranking``; after each of the first ones
    stands what the log already holds: a pair to combine, then a run to repeat.
    ``options`` are the declared edits that are left; without any given, or if
    edits are ``free`` beside them, categories without one get angles.
    """
    declared = options is not None and not free
    by_name = {score.category: score for score in scores}
    blank = (CategoryScore(name, 0, 0, Label.EXPLORE.value, None) for name in ranking)
    fresh = [
        found
        for score in (by_name.get(empty.category, empty) for empty in blank)
        if (found := next_in(score, attempts, options or (), declared)) is not None
    ]
    held = [
        suggestion
        for pair in itertools.zip_longest(
            retests(attempts, keep_probability, noise_sd), combinations(attempts)
        )
        for suggestion in pair
        if suggestion is not None
    ]
    mixed = itertools.zip_longest(fresh, held)
    return [one for pair in mixed for one in pair if one is not None][:limit]


def _listed(numbers: Sequence[int]) -> str:
    return "experiment " + ", ".join(map(str, numbers)) if numbers else "none"


def followed(
    suggestions: Sequence[Suggestion], category: str, description: str
) -> tuple[int, bool] | None:
    """Which suggestion a proposal took up: its place from 1, and whether to the letter.

    To the letter is the very edit; else the first suggestion of the proposal's
    category counts.  ``None`` if it is none of them.
    """
    for place, one in enumerate(suggestions, 1):
        if one.kind is Kind.EDIT and normal(one.title) == normal(description):
            return place, True
    for place, one in enumerate(suggestions, 1):
        if one.category == category and one.kind in (Kind.EDIT, Kind.ANGLE):
            return place, False
    return None
