"""autosteer: what to try next, by the log of an autoresearch session.

    autosteer --results results.tsv
    autosteer --results results.tsv --mode explore --repo clone

Suggestions go to standard output, assumptions and problems to standard error.
The log is never written.

Exit codes: 0, or 64 usage, 65 data, 66 no input, 70 internal error.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet import __version__
from ratchet.base.errors import DataError, UsageError
from ratchet.base.structs import asdict
from ratchet.base.terminal import fit_lines
from ratchet.base.text import one_line
from ratchet.cli.main import (
    CommandParser,
    add_log_options,
    make_command,
    print_json,
    read_log,
    tell_assumptions,
)
from ratchet.logs.analysis import MOST_SUGGESTIONS
from ratchet.logs.table import Table
from ratchet.records.records import Suggestion, SuggestionKind
from ratchet.steering.bandit import WINDOW, CategoryScore, Label, SteeringMode
from ratchet.steering.suggestions import AttemptNote, detectable_gain

if TYPE_CHECKING:
    from ratchet.logs.analysis import Steered

NAME = "autosteer"
SHOWN = 5
"""Crashes and used-up constants that the text names; the JSON has all."""

REASONS = {
    Label.EXPLOIT: "high success rate",
    Label.NEUTRAL: "average success rate",
    Label.AVOID: "low success rate, yet not ruled out",
    Label.EXPLORE: "too few tries to tell",
}

RISKS = {Label.EXPLOIT: "low", Label.AVOID: "high"}

STRATEGIES = {
    SteeringMode.AUTO: "auto (a sample of what each category may bring)",
    SteeringMode.EXPLORE: "explore (the least known category first)",
    SteeringMode.EXPLOIT: "exploit (the largest expected gain first)",
}


def text_of(steered: Steered) -> list[str]:
    """Categories, what to try next, and what to leave alone."""
    lines = [f"Category analysis (last {WINDOW} experiments):"]
    shown = [score for score in steered.scores if score.tried]
    lines += [_category(score) for score in shown]
    if not shown:
        lines.append("no experiment yet")
    rest = list(steered.suggestions)
    if rest and rest[0].kind is SuggestionKind.ANGLE:
        first = rest.pop(0)
        lines.append(f"Suggested next: {first.category} variations ({_reason(steered, first)})")
        lines.append(f"Specific angles: {', '.join(map(one_line, first.angles))}")
    elif not rest:
        lines.append("Suggested next: nothing; all usual angles were tried")
    for suggestion in rest:
        title = suggestion.title[0].upper() + suggestion.title[1:]
        lines.append(f"Or: {title}. {suggestion.evidence}")
    lines += _left_alone("Do not repeat", steered.crashes)
    lines += _left_alone("Used up", steered.exhausted)
    noise = steered.noise_sd
    if noise:
        one, three = detectable_gain(noise, 1), detectable_gain(noise, 3)
        lines.append(
            f"Noise floor ±{noise:.2g}: one run per side shows improvements from {one:.2g}, "
            f"three runs from {three:.2g}"
        )
    return lines


def _category(score: CategoryScore) -> str:
    share = f"{100 * score.kept / score.tried:.0f}%"
    name = one_line(score.category)
    return f"{name}: {score.tried} tried | {score.kept} kept ({share}) | {score.label}"


def _reason(steered: Steered, suggestion: Suggestion) -> str:
    score = _score(steered, suggestion.category)
    if score is None or not score.tried:
        return "not tried yet"
    reason = REASONS[Label(score.label)]
    most = max(steered.worth.values(), default=0.0)
    if score.label == Label.NEUTRAL and steered.worth.get(suggestion.category) == most > 0:
        reason += ", but the largest expected gain"
    return reason


def _score(steered: Steered, category: str) -> CategoryScore | None:
    return next((score for score in steered.scores if score.category == category), None)


def _left_alone(what: str, notes: Sequence[AttemptNote]) -> list[str]:
    more = len(notes) - SHOWN
    lines = [f"{what}: {note.text}" for note in notes[:SHOWN]]
    return [*lines, f"{what}: {more} more; --json lists all"] if more > 0 else lines


def quiet_of(steered: Steered) -> list[str]:
    """One line per suggestion, as the released tool."""
    lines = [
        f"{rank}. [{_kind(steered, suggestion)}] {suggestion.title}"
        for rank, suggestion in enumerate(steered.suggestions, 1)
    ]
    return lines or ["No suggestions available."]


def _kind(steered: Steered, suggestion: Suggestion) -> str:
    """EXPLOIT where something of the category was kept, else EXPLORE."""
    kept = any(a.kept for a in steered.attempts if a.category == suggestion.category)
    return "EXPLOIT" if kept else "EXPLORE"


def json_of(
    steered: Steered, table: Table, mode: SteeringMode, notes: Sequence[str]
) -> dict[str, Any]:
    """All fields of the released tool's JSON, and ours.

    ``baseline_bpb`` and ``best_bpb`` are the metric whatever its name is.
    ``priority_score`` is the expected gain of one try of the category in the
    metric's unit, ``expected_range_pct`` the least and the largest gain of the
    category's keeps (null where there are none) and ``avg_improvement_pct``
    their mean, each as the judge expects it to be true; ``risk`` follows the label.
    """
    noise = steered.noise_sd
    return {
        "strategy": STRATEGIES[mode],
        "baseline_bpb": steered.baseline,
        "best_bpb": steered.best,
        "category_stats": {score.category: _stats(steered, score) for score in steered.scores},
        "suggestions": [
            _suggestion(steered, suggestion, rank)
            for rank, suggestion in enumerate(steered.suggestions, 1)
        ],
        "mode": mode.value,
        "metric": table.metric,
        "direction": table.direction.value,
        "window": WINDOW,
        "ranking": list(steered.ranking),
        "experiments": [asdict(attempt) for attempt in steered.attempts],
        "crashes": [asdict(note) for note in steered.crashes],
        "exhausted": [asdict(note) for note in steered.exhausted],
        "noise_floor": noise,
        "detectable": None
        if not noise
        else {str(seeds): detectable_gain(noise, seeds) for seeds in (1, 3)},
        "assumptions": list(notes),
        "problems": [str(problem) for problem in table.problems],
    }


def _stats(steered: Steered, score: CategoryScore) -> dict[str, Any]:
    """Counts of one category over the whole log, and over the window that labels rest on."""
    mine = [a for a in steered.attempts if a.category == score.category]
    kept, crashed = sum(a.kept for a in mine), sum(a.crashed for a in mine)
    gains = _gains(steered, score.category)
    return {
        "total": len(mine),
        "keeps": kept,
        "discards": len(mine) - kept - crashed,
        "crashes": crashed,
        "success_rate_pct": round(100 * kept / len(mine), 1) if mine else 0.0,
        "avg_improvement_pct": round(sum(gains) / len(gains), 4) if gains else 0.0,
        "window_tried": score.tried,
        "window_kept": score.kept,
        "label": score.label,
        "probability": score.probability,
        "expected_gain": steered.worth.get(score.category),
    }


def _gains(steered: Steered, category: str) -> list[float]:
    """Expected true gains of the category's keeps, in percent of the baseline."""
    if not steered.baseline:
        return []
    percent = 100 / abs(steered.baseline)
    mine = (a for a in steered.attempts if a.category == category and a.kept)
    return [percent * a.gain for a in mine if a.gain is not None]


def _suggestion(steered: Steered, suggestion: Suggestion, rank: int) -> dict[str, Any]:
    score = _score(steered, suggestion.category)
    label = Label(score.label) if score is not None else Label.EXPLORE
    gains = _gains(steered, suggestion.category)
    return {
        "rank": rank,
        "kind": _kind(steered, suggestion),
        "title": suggestion.title,
        "category": suggestion.category,
        "risk": RISKS.get(label, "medium"),
        "expected_range_pct": [round(min(gains), 4), round(max(gains), 4)] if gains else None,
        "reasoning": suggestion.evidence,
        "priority_score": steered.worth.get(suggestion.category),
        "type": suggestion.kind.value,
        "angles": list(suggestion.angles),
        "experiments": list(suggestion.experiments),
    }


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    add = parser.add_argument
    modes = [mode.value for mode in SteeringMode]
    add_log_options(parser)
    add("--mode", type=str.lower, choices=modes, help="auto, the least known first, or what works")
    add("--strategy", type=str.lower, choices=modes, help="the same as --mode")
    add("--num-suggestions", type=int, default=5, help="1 to 20 (default 5)")
    add("--repo", "--repo-dir", type=Path, help="git repository of the log's commits, for diffs")
    add("--json", action="store_true", help="the same as --format json")
    add("--format", choices=["text", "json"], default="text", help="default text")
    add("-q", "--quiet", action="store_true", help="one line per suggestion, and no assumptions")
    add("--no-color", action="store_true", help="accepted; nothing is ever coloured")
    add("--version", action="version", version=f"autosteer (ratchet) {__version__}")
    options = parser.parse_args(argv)
    if options.mode and options.strategy and options.mode != options.strategy:
        raise UsageError(f"--mode {options.mode} contradicts --strategy {options.strategy}")
    if not 1 <= options.num_suggestions <= MOST_SUGGESTIONS:
        raise UsageError(
            f"--num-suggestions: expected 1 to {MOST_SUGGESTIONS}, found {options.num_suggestions}"
        )
    options.mode = SteeringMode(options.mode or options.strategy or SteeringMode.AUTO)
    options.json |= options.format == "json"
    return options


def _run(options: argparse.Namespace) -> int:
    path = _log(options.results, options.repo)
    name = one_line(str(path))
    every, data = read_log(options, path)
    table = every.table
    if not every.rows:
        raise DataError(f"{name}: line 1, column 1: expected an experiment, found only notes")
    from ratchet.logs.analysis import replayed, sources_of, steer_by
    from ratchet.logs.judging import repeat_notes

    sources = sources_of(options.repo, path.name)
    done, assumed = replayed(every)
    steered = steer_by(every, options.mode, options.num_suggestions, data, sources, done)
    notes = [*table.assumptions, *every.assumptions(), *repeat_notes(every), *assumed]
    if options.json:
        print_json(json_of(steered, table, options.mode, notes))
    else:
        lines = quiet_of(steered) if options.quiet else text_of(steered)
        print("\n".join(fit_lines(lines)))
    tell_assumptions(NAME, table, notes, options.quiet)
    return 0


def _log(path: Path, repo: Path | None) -> Path:
    """The log, which the released tool looks for in the repository."""
    inside = path if repo is None else repo / path
    try:
        return inside if not path.is_file() and inside.is_file() else path
    except ValueError:  # a name with a zero byte
        return path


main = make_command(NAME, _parse, _run, "please report it together with the log")
