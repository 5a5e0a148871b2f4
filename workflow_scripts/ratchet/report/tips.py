"""What a point says when it is pointed at: a few lines of plain text.

Rows of figures with a ``tip`` say it; those with a ``number`` say before it what is
said of the experiment everywhere.
"""

from __future__ import annotations

from ratchet.report.inputs import Facts
from ratchet.report.text import number, percent


def of_experiment(e: Facts, facts: Facts) -> str:
    """Number, description, verdict and measurement of an experiment."""
    decimals = facts["metric"]["decimals"]
    lines = [f"#{e['number']} {e['description'] or ''}".rstrip()]
    verdict = (e["verdict"] or "not judged").replace("_", " ")
    if e["confidence"] is not None:
        verdict += f", P(better) {percent(e['confidence'])}"
    lines.append(verdict)
    if e["mean"] is not None:
        runs = f", {e['n']} runs" if e["n"] and e["n"] > 1 else ""
        lines.append(f"{_named(facts)} {number(e['mean'], decimals)}{runs}")
    if e["delta"] is not None:
        interval = ""
        if e["delta_low"] is not None:
            low = number(e["delta_low"], decimals, signed=True)
            interval = f" ({low} to {number(e['delta_high'], decimals, signed=True)})"
        lines.append(f"Δ {number(e['delta'], decimals, signed=True)}{interval}")
    return "\n".join(lines)


def of_value(name: str, value: float, facts: Facts) -> str:
    """A measurement that belongs to no experiment."""
    return f"{name}\n{_named(facts)} {number(value, facts['metric']['decimals'])}"


def _named(facts: Facts) -> str:
    return str(facts["metric"]["name"])[:40]
