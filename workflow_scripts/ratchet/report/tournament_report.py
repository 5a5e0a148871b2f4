"""A tournament as one page and as JSON: leaderboard, lineage, every win passed on.

The page is self-contained and runs no script; the same facts give the same bytes.
Descriptions come from candidates and agents: they are cleaned and escaped.
"""

from typing import Any

from markupsafe import Markup

from ratchet.base.io import read_record, write_bytes, write_json
from ratchet.base.text import DASH, decimals_for, format_number, one_line
from ratchet.records.confirmed import gain_sentence
from ratchet.report.render import fill_page, unbroken
from ratchet.tournament.arena import Arena
from ratchet.tournament.pollination import Champion, Facts, tournament_facts

WIDTH, HEIGHT, EDGE = 140, 30, 3
"""Size of a trajectory's picture, in pixels."""

FATES = {
    "kept": "kept",
    "rejected": "re-tested, not kept",
    "conflict": "conflict, not forced",
    "present": "there already",
    "tried": "tried there before",
    "waiting": "waits for its turn",
}


def write_tournament_report(arena: Arena) -> None:
    """Write evolve.json, then evolve.html."""
    champion = read_record(Champion, arena.paths.champion)
    facts = tournament_facts(arena, arena.config.evolve_rounds, champion)
    write_json(arena.paths.evolve_json, facts)
    write_bytes(arena.paths.evolve_html, render_tournament(facts).encode())
    arena.journal_of(arena.config).append("evolved", answer=tournament_answer(facts))


def tournament_decimals(facts: Facts) -> int:
    """Decimals of the metric, by the surest of the estimates."""
    sds = [(row["high"] - row["low"]) / 4 for row in facts["leaderboard"]]
    return decimals_for(min(filter(None, sds), default=None), facts["baseline"]["mean"])


def tournament_answer(facts: Facts) -> str:
    """The tournament in one sentence."""
    champion, name = facts["champion"], facts["metric"]["name"]
    decimals = tournament_decimals(facts)
    if champion is None:
        row = facts["leaderboard"][0]
        best, mean = (format_number(row[key], decimals) for key in ("best", "mean"))
        best = f"{best} (estimate {mean})"
        return f"{row['competitor']} leads with {name} {best}; nothing is confirmed"
    gain = champion["gain"]
    who = f"{champion['competitor']}, experiment {champion['experiment']}"
    if champion["experiment"] == 0:
        return "no competitor kept anything: the baseline is the best so far"
    said = gain_sentence(gain, lambda value: format_number(value, decimals))
    return f"{who} won in {name}; {one_line(said)}"


def render_tournament(facts: Facts) -> str:
    """The page."""
    facts = unbroken(facts)
    return fill_page(
        "evolve.html",
        tournament_decimals(facts),
        {"line": one_line},
        (),
        facts=facts,
        answer=tournament_answer(facts),
        fates=FATES,
        curves={row["competitor"]: Markup(_curve(facts, row)) for row in facts["leaderboard"]},
    )


def fixed_digits(value: float | None, digits: int = 6) -> str:
    """So many digits; a dash for what is not known."""
    return DASH if value is None else f"{value:.{digits}g}".replace("-", "−")


def signed_digits(value: float | None) -> str:
    """Three digits with their sign."""
    return DASH if value is None else f"{value:+.3g}".replace("-", "−")


def _curve(facts: Facts, row: dict[str, Any]) -> str:
    """A competitor's trajectory as SVG: runs to the right, better upwards."""
    every = [point for other in facts["leaderboard"] for point in other["trajectory"]]
    sign = 1 if facts["metric"]["direction"] == "minimize" else -1
    values = [sign * point["mean"] for point in every]
    low, span = min(values), (max(values) - min(values)) or 1.0
    most = max(point["runs"] for point in every) or 1
    points = " ".join(
        f"{EDGE + (WIDTH - 2 * EDGE) * point['runs'] / most:.1f},"
        f"{EDGE + (HEIGHT - 2 * EDGE) * (sign * point['mean'] - low) / span:.1f}"
        for point in row["trajectory"]
    )
    # Better is lower in `values`, and so are small y in SVG: upwards.
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        'aria-label="trajectory">'
        f'<polyline points="{points}" fill="none" stroke="var(--champion)" stroke-width="2"/></svg>'
    )
