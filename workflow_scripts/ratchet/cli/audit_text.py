"""An audit for a terminal, :data:`WIDTH` columns wide at most."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from ratchet.audit import CHANCE, CREDIBLE, MOST_SEEDS, OVERTURNED, TESTS
from ratchet.cli.command import decimals
from ratchet.report.text import label
from ratchet.reruns import LEVEL as RERUN_LEVEL
from ratchet.smoothing import LEVEL

Facts = dict[str, Any]
WIDTH = 80
_INTERVAL = f"{100 * LEVEL:.0f} %"


def lines(facts: Facts) -> Iterator[str]:
    """Noise floor, a line for each kept change, and what holds of them."""
    noise, changes = facts["noise"], facts["changes"]
    places = decimals(noise["sd"]) + 1
    count = len(changes)
    head = f"{facts['experiments']} experiments of {label(facts['metric'], 30)}"
    yield f"{head}, {count} kept change{'s' * (count != 1)} after the baseline"
    low, high = (f"{noise[end]:.{places}f}" for end in ("low", "high"))
    yield f"noise floor: ±{noise['sd']:.{places}f} ({_INTERVAL} interval {low} to {high})"
    yield from _wrapped(noise["source"], "  ")
    yield ""
    if not changes:
        yield "nothing was kept after the baseline, so there is nothing to audit"
        return
    yield from _table(changes, places - 1)
    yield ""
    yield from _summary(facts, places)
    yield ""
    yield from _again(changes)
    if facts.get("reruns"):
        yield ""
        yield from _reruns(facts["reruns"], places)


def _table(changes: list[Facts], places: int) -> Iterator[str]:
    """Aligned columns; ``then`` and ``now`` are P(better)."""
    with_lines = "lines" in changes[0]
    head = ["line", "printed", "then", "now", "gain", "from", "to", "seeds"]
    rows = [[*head, *(["code"] if with_lines else [])]]
    for change in changes:
        step, gain, low, high = (
            f"{change[key]:+.{places}f}" for key in ("step", "gain", "low", "high")
        )
        row = [str(change["line"]), step, f"{change['then']:.2f}", f"{change['better']:.2f}"]
        row += [gain, low, high, _seeds(change)]
        if with_lines:
            row.append("?" if change["lines"] is None else f"{change['lines']:+d}")
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    texts = ["change", *(label(change["description"]) for change in changes)]
    for row, text in zip(rows, texts, strict=True):
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        yield _cut(" ".join([*cells, text]))


def _seeds(change: Facts) -> str:
    if change["seeds"] is None:
        return f">{MOST_SEEDS}"
    return str(change["seeds"]) if change["seeds"] else "-"


def _summary(facts: Facts, places: int) -> Iterator[str]:
    count, held = len(facts["changes"]), facts["surviving"]
    tests = ", ".join(f"{held[name]} at P >= {TESTS[name]:g} ({name})" for name in TESTS)
    yield from _wrapped(f"one by one: of {count} kept changes {tests} are credible", "")
    yield from _wrapped(
        f"expected: {facts['expected_true']:.1f} are better ({_INTERVAL} interval "
        f"{facts['least_true']} to {facts['most_true']}), {facts['expected_false_keeps']:.1f} "
        "are false keeps",
        "",
    )
    surest = facts["together"]
    named = ", ".join(map(str, sorted(surest)))
    together = (
        f"the surest {len(surest)} with P {facts['together_hold']:.3f} (line {named})"
        if surest
        else f"not even the surest one with P {CREDIBLE:g}"
    )
    yield from _wrapped(
        f"together: all {count} hold with P {facts['all_hold']:.2g}; {together}", ""
    )
    low, high = (f"{facts[end]:+.{places}f}" for end in ("total_low", "total_high"))
    yield from _wrapped(
        f"total gain: {facts['total']:+.{places}f} ({_INTERVAL} interval {low} to {high}); "
        f"printed {facts['printed']:+.{places}f}, which is selected and so too good on average",
        "",
    )


def _again(changes: list[Facts]) -> Iterator[str]:
    chosen = sorted(
        (change for change in changes if change["seeds"]), key=lambda c: (c["seeds"], c["line"])
    )
    if chosen:
        listed = ", ".join(f"line {c['line']} ({c['seeds']})" for c in chosen)
        yield from _wrapped(f"worth a re-run, with seeds for each side: {listed}", "")
    over = [str(c["line"]) for c in changes if c["better"] < OVERTURNED]
    if over:
        yield from _wrapped(f"overturned by the rest of the log: line {', '.join(over)}", "")
    beyond = [str(c["line"]) for c in changes if c["seeds"] is None]
    if beyond:
        text = f"too small for {MOST_SEEDS} seeds to decide: line {', '.join(beyond)}"
        yield from _wrapped(text, "")
    yield from _wrapped(
        "then, now: P(better) by the rows up to the change, and by the whole log; from, to: "
        f"{_INTERVAL} interval of the gain",
        "",
    )
    yield from _wrapped(
        "seeds: the smallest n for which, with n runs of the change and n of its parent in turn "
        "on one machine (their difference is normal with variance 2 s^2 / n about the true gain), "
        f"P(better) ends at {CREDIBLE:g} or more, or below {OVERTURNED:g}, with probability "
        f"{CHANCE:g}",
        "",
    )


def _reruns(found: Facts, places: int) -> Iterator[str]:
    """Each change by its fresh runs, and in the last line how many hold."""
    yield from _wrapped(
        f"run again here, session {label(found['session'], 64)}: {found['runs']} runs of "
        f"{label(found['task'], 40)} on {label(found['hardware'], 80)}",
        "",
    )
    if found["noise_sd"] is not None:
        yield from _wrapped(
            f"noise floor here: ±{found['noise_sd']:.{places}f}, from runs of the same code "
            f"({found['freedom']} degrees of freedom)",
            "",
        )
    yield from _table_of_reruns(found["changes"], places - 1)
    for change in found["changes"]:
        for said in (*([change["reason"]] if change["reason"] else []), *change["notes"]):
            yield from _wrapped(f"line {change['line']}: {label(said, 400)}", "  ")
    if found["whole"] is not None:
        whole = found["whole"]
        yield from _wrapped(
            f"from end to end: {whole['gain']:+.{places}f}{_interval(whole, places)}, by the runs "
            f"of the first incumbent and of line {whole['end']}",
            "",
        )
    yield from _wrapped(
        f"gain: difference of the means, from, to: its {100 * RERUN_LEVEL:.0f} % interval (Welch); "
        "P: P(better) by these runs alone",
        "",
    )
    yield found["sentence"]


def _table_of_reruns(changes: list[Facts], places: int) -> Iterator[str]:
    rows = [["line", "seeds", "gain", "from", "to", "P", "stands"]]
    for change in changes:
        row = [str(change["line"]), str(change["seeds"])]
        for key in ("gain", "low", "high"):
            row.append("-" if change[key] is None else f"{change[key]:+.{places}f}")
        better = change["better"]
        row += ["-" if better is None else f"{better:.2f}", change["standing"]]
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    texts = ["change", *(label(change["description"]) for change in changes)]
    for row, text in zip(rows, texts, strict=True):
        cells = [cell.rjust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        yield _cut(" ".join([*cells, row[-1].ljust(widths[-1]), text]).rstrip())


def _interval(found: Facts, places: int) -> str:
    if found["low"] is None:
        return ""
    low, high = (f"{found[end]:+.{places}f}" for end in ("low", "high"))
    return f" ({100 * found['level']:.0f} % interval {low} to {high})"


def _wrapped(text: str, indent: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent or "  ", break_on_hyphens=False
    )


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1].rstrip() + "…"
