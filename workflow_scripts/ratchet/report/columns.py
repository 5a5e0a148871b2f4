"""The columns of the table of experiments: what each shows, and what it is sorted by."""

from __future__ import annotations

from ratchet.report.inputs import Facts
from ratchet.report.text import DASH, number, percent

COLUMNS = (
    ("category", "Category", True),
    ("mean", "Mean", True),
    ("runs", "Runs", False),
    ("delta", "Δ", True),
    ("interval", "95 % interval", False),
    ("gain", "Gain", False),
    ("confidence", "P(better)", True),
    ("strict", "Stricter test", False),
    ("price", "Price", False),
    ("memory", "Memory MB", True),
    ("pareto", "Pareto", False),
    ("seconds", "Training s", True),
    ("lines", "Lines ±", True),
    ("changes", "Changes", False),
    ("round", "Round", False),
    ("commit", "Commit", False),
)
"""Key, heading and whether it is shown unless somebody chooses otherwise."""

LOGGED = (("logged", "Logged", True), ("agent", "Agent", False), ("line", "Line", False))
"""What a row of somebody else's log has beside these."""

UNLOGGED = frozenset({"runs", "price", "pareto", "seconds", "round"})
"""Columns that no such log can fill."""

WORDED = frozenset({"category", "interval", "strict", "pareto", "commit", "logged", "agent"})
"""Columns of words, which are aligned left."""

RANKS = {
    verdict: place
    for place, verdict in enumerate(
        ("STRONG_KEEP", "KEEP", "MARGINAL", "RETEST", "DISCARD", "CRASH", "TAMPERED")
    )
}
"""The order of verdicts."""

Cell = tuple[str, str, float | int | None]
Columns = tuple[tuple[str, str, bool], ...]

_FILLED = {
    "memory": "memory_mb",
    "lines": "lines_added",
    "changes": "changes",
    "commit": "commit",
    "agent": "agent",
}
"""Columns of a log that are left out where no row fills them."""


def of(facts: Facts) -> Columns:
    """The columns of a report: all of a session's, of a log those that it can fill."""
    if facts["log"] is None:
        return COLUMNS
    first, *others = [entry for entry in COLUMNS if entry[0] not in UNLOGGED]
    tried = facts["experiments"]
    return tuple(
        entry
        for entry in (LOGGED[0], first, *others, *LOGGED[1:])
        if entry[0] not in _FILLED or any(e[_FILLED[entry[0]]] not in (None, "") for e in tried)
    )


def cells(e: Facts, decimals: int, chosen: Columns = COLUMNS) -> list[Cell]:
    """Key, text and, where the text is not what is sorted by, the number that is."""
    every = {**_cells(e, decimals), **(_logged(e) if chosen is not COLUMNS else {})}
    return [(key, *every[key]) for key, *_ in chosen]


def _logged(e: Facts) -> dict[str, tuple[str, float | int | None]]:
    return {
        "logged": (e["logged"] or DASH, None),
        "agent": (e["agent"] or DASH, None),
        "line": (f"{e['line']}", _order(e["line"])),
    }


def _cells(e: Facts, decimals: int) -> dict[str, tuple[str, float | int | None]]:
    interval = DASH
    if e["delta_low"] is not None:
        low = number(e["delta_low"], decimals, signed=True)
        interval = f"{low} to {number(e['delta_high'], decimals, signed=True)}"
    lines = DASH if e["lines_added"] is None else f"+{e['lines_added']} −{e['lines_removed']}"
    passes = {None: DASH, True: "survives", False: "does not"}[e["survives"]]
    # Prices are often smaller than what is measured.
    finer = decimals + 1
    found: list[tuple[str, float | int | None]] = [
        (e["category"] or DASH, None),
        (number(e["mean"], decimals), _order(e["mean"])),
        (f"{e['n']}" if e["n"] is not None else DASH, _order(e["n"])),
        (number(e["delta"], decimals, signed=True), _order(e["delta"])),
        (interval, _order(e["delta_low"])),
        (number(e["gain"], decimals, signed=True), _order(e["gain"])),
        (percent(e["confidence"]), _order(e["confidence"])),
        (passes, None),
        (number(e["price"], finer, signed=True), _order(e["price"])),
        (number(e["memory_mb"], 1), _order(e["memory_mb"])),
        (e["pareto"].lower() if e["pareto"] else DASH, None),
        (number(e["seconds"], 1), _order(e["seconds"])),
        (lines, _order(e["net_lines"] if e["net_lines"] is not None else _net(e))),
        (DASH if e["changes"] is None else f"{e['changes']}", _order(e["changes"])),
        (DASH if e["round"] is None else f"{e['round']}", _order(e["round"])),
        ((e["commit"] or DASH)[:10], None),
    ]
    return {key: cell for (key, *_), cell in zip(COLUMNS, found, strict=True)}


def _net(e: Facts) -> int | None:
    if e["lines_added"] is None:
        return None
    return int(e["lines_added"] - e["lines_removed"])


def _order(value: float | int | None) -> float | int:
    """What is missing stands below everything; seven digits tell all others apart."""
    return -1e99 if value is None else float(f"{value:.7g}") if isinstance(value, float) else value


def style(chosen: Columns = COLUMNS) -> str:
    """Rules that show the columns whose boxes are ticked; they work without any script."""
    return "".join(
        f"main:has(#c-{key}:checked) .c-{key}{{display:table-cell}}" for key, *_ in chosen
    )
