"""Figures as lines of text that fit 100 columns, and as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ratchet.codec import encode
from ratchet.simulation.measures import Estimate, Summary
from ratchet.simulation.session import Plan, Rule

MISSING = "-"
THOUSANDTHS = 1e3
"""Gains are shown in thousandths of the metric's unit."""

FORMAT = 1
"""Raised when a field of the JSON changes its meaning."""


def heading(plan: Plan) -> str:
    """What was simulated, in one line."""
    return (
        f"{plan.world.name}: {plan.world.summary}; {plan.runs} runs, "
        f"noise sd {plan.noise_sd:g}, {plan.sessions} sessions, seed {plan.seed}"
    )


def lines(summaries: Mapping[str, Summary], against: str) -> list[str]:
    """Three tables: what was gained, what it took, and what the words are worth."""
    gained = [
        ("rule", "true gain", f"over {against}", "claimed-true", "keeps", "false", "false share")
    ]
    took = [("rule", "missed", "tried", "retests", "incumbent", "Brier", "ECE", "noise/true")]
    for name, found in summaries.items():
        over = MISSING if name == against else signed(found.over)
        gained.append(
            (
                name,
                _around(found.true_gain, 2, THOUSANDTHS),
                over,
                signed(found.bias),
                _around(found.keeps, 1),
                _around(found.false_keeps, 2),
                _between(found.false_share, 3),
            )
        )
        took.append(
            (
                name,
                _around(found.missed, 3),
                f"{found.proposals.value:.0f}",
                _around(found.retests, 1),
                _around(found.incumbent_runs, 1),
                _around(found.brier, 3),
                _between(found.calibration_error, 3),
                _between(found.noise_ratio, 2),
            )
        )
    return [*_aligned(gained), "", *_aligned(took), *_words(summaries)]


LEGEND = (
    "Gains are in thousandths of the metric, per session; ± and [ ] are 95 % intervals.",
    "over: paired by session.  false: kept without being better, per session and as a share of",
    "keeps.  missed: share of improvements above 2e-4 that were not kept.  tried: proposals.",
    "incumbent: its re-runs.  ECE: calibration error in 10 bins.  noise/true: estimated over true.",
)


def to_dict(
    plan: Plan, rules: Sequence[Rule], summaries: Mapping[str, Summary], against: str
) -> dict[str, Any]:
    """The same as JSON values; gains are in the metric's unit."""
    settings = encode(plan)
    settings["world"] = plan.world.name
    return {
        "format": FORMAT,
        "plan": settings,
        "against": against,
        "rules": [
            {
                "name": rule.name,
                "summary": rule.summary,
                **encode(summaries[rule.name]),
            }
            for rule in rules
        ],
    }


def _words(summaries: Mapping[str, Summary]) -> list[str]:
    """Share truly better by verdict, for the rules that give verdicts."""
    given = {name: found.hit_rates for name, found in summaries.items() if found.hit_rates}
    if not given:
        return []
    verdicts = sorted({hit.verdict for hits in given.values() for hit in hits}, key=_order)
    rows = [("truly better", *verdicts)]
    for name, hits in given.items():
        by_verdict = {hit.verdict: f"{_bare(hit.share, 3)} of {hit.count}" for hit in hits}
        rows.append((name, *(by_verdict.get(verdict, MISSING) for verdict in verdicts)))
    return ["", *_aligned(rows)]


def _order(verdict: str) -> int:
    surest = ["STRONG_KEEP", "KEEP", "MARGINAL", "RETEST", "DISCARD"]
    return surest.index(verdict) if verdict in surest else len(surest)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Names to the left, figures to the right, two spaces between columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _around(found: Estimate | None, digits: int, factor: float = 1.0) -> str:
    """Value and half-width of its interval; only a limit where nothing was counted."""
    if found is None:
        return MISSING
    if found.value == 0 and found.low == 0 < found.high:
        return f"<{_bare(found.high * factor, digits)}"
    return f"{_bare(found.value * factor, digits)}±{_bare(found.margin * factor, digits)}"


def signed(found: Estimate, digits: int = 2, factor: float = THOUSANDTHS) -> str:
    return f"{found.value * factor:+.{digits}f}±{found.margin * factor:.{digits}f}"


def _between(found: Estimate | None, digits: int) -> str:
    """Value and interval, which need not lie evenly around it."""
    if found is None:
        return MISSING
    value, low, high = (_bare(part, digits) for part in (found.value, found.low, found.high))
    return f"{value} [{low},{high}]"


def _bare(value: float, digits: int) -> str:
    """Without the zero before the point: the tables need the room."""
    text = f"{value:.{digits}f}"
    return text[1:] if text.startswith("0.") else text
