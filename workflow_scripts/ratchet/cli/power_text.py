"""The tables of ``ratchet power`` for a terminal, ``WIDTH`` columns wide at most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ratchet.results_tsv import one_line

Facts = dict[str, Any]
WIDTH = 100


def lines(facts: Facts) -> Iterator[str]:
    """The noise floor and three tables."""
    noise = facts["noise"]
    interval = ""
    if noise["low"] is not None and noise["high"] is not None:
        level = f"{100 * noise['level']:.0f} %"
        interval = f" ({level} interval {noise['low']:.3g} to {noise['high']:.3g})"
    yield f"noise floor: ±{noise['sd']:.3g}{interval}"
    yield f"             {one_line(noise['source'])[: WIDTH - 13]}"
    yield ""
    yield from _detectable(facts)
    yield ""
    yield from _needed(facts)
    yield ""
    yield from _false_keeps(facts)


def _detectable(facts: Facts) -> Iterator[str]:
    yield (
        f"smallest effect that a comparison shows with probability {facts['power']:g} "
        f"(one-sided level {facts['alpha']:g})"
    )
    yield f"{'':>8}{'noise floor known (normal)':>36}{'estimated from these runs (t)':>36}"
    head = f"{'sds':>12}{'metric':>12}{'%':>12}"
    yield f"{'seeds':>8}{head}{head}"
    for row in facts["detectable"]:
        yield f"{row['seeds']:>8}{_three(row['known'])}{_three(row['estimated'])}"


def _needed(facts: Facts) -> Iterator[str]:
    yield "seeds per side that an effect needs, at the same level and probability"
    yield f"{'':>8}{'sds':>12}{'metric':>12}{'%':>12}{'known':>18}{'estimated':>18}"
    for row in facts["seeds_needed"]:
        known, estimated = (
            "over a million" if row[kind] is None else str(row[kind])
            for kind in ("known", "estimated")
        )
        yield f"{'':>8}{_three(row)}{known:>18}{estimated:>18}"


def _false_keeps(facts: Facts) -> Iterator[str]:
    count = facts["experiments"]
    yield f"keeps in {count} experiment{'s' * (count != 1)} of which none changes anything"
    yield f"{'':>8}{'rule':<52}{'false keeps':>14}{'runs':>10}  how"
    for row in facts["false_keeps"]:
        keeps = f"{row['keeps']:.2f}"
        if row["how"] == "bound":
            keeps = f"at most {row['keeps']:g}"
        elif row["error"] is not None:
            keeps += f" ±{row['error']:.2f}"
        runs = "-" if row["runs"] is None else f"{row['runs']:.0f}"
        yield f"{'':>8}{row['rule']:<52}{keeps:>14}{runs:>10}  {row['how']}"


def _three(row: Facts) -> str:
    """An effect in noise sds, in the metric's unit and in percent."""
    sds, metric, percent = (row[key] for key in ("sds", "metric", "percent"))
    digits = "-" if sds is None else f"{sds:.2f}" if sds >= 0.1 else f"{sds:.2g}"
    shown = (digits, _short(metric), _short(percent))
    return "".join(f"{text:>12}" for text in shown)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
