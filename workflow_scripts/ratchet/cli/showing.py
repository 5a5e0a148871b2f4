"""The commands of ``autoevolve`` that only look: status, leaderboard, export."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ratchet import files
from ratchet.cli import command, settings
from ratchet.cli.autoevolve import Output
from ratchet.codec import encode, replace
from ratchet.errors import InputMissingError, UsageError
from ratchet.journal import Journal
from ratchet.paths import SessionPaths
from ratchet.records import Manifest
from ratchet.report.evolve import FATES, answer, number, signed
from ratchet.report.text import label
from ratchet.results_tsv import one_line
from ratchet.stages import leg, standings
from ratchet.stages.champion import Champion
from ratchet.stages.entering import Arena
from ratchet.stages.standings import Facts
from ratchet.tournaments import Leg

EXIT_NOTHING = 1
COLUMNS = ("commit", "val_bpb", "memory_gb", "status", "description")
"""Of the released tool's export; ``val_bpb`` is the metric, whatever it is called."""


def find(root: Path, given: Sequence[str]) -> str:
    """The tournament that is meant: the configured session's, or else the only one.

    Raises :class:`InputMissingError` if there is none, :class:`UsageError` if several.
    """
    known = sorted(
        path.parents[2].name for path in (root / "results").glob("*/evolve/0000/leg-0.json")
    )
    configured = settings.read(root, given).session
    if configured in known or len(known) == 1:
        return configured if configured in known else known[0]
    if known:
        raise UsageError(f"expected --tag, one of {', '.join(known)}; found none")
    raise InputMissingError(
        f"{root / 'results'}: expected a tournament, found none; start one: "
        "autoevolve --strategies conservative aggressive random --rounds 3"
    )


def legs(paths: SessionPaths, round_: int) -> list[Leg]:
    """All legs of a round that are there, in the order of the competitors."""
    found, index = [], 0
    while paths.leg(round_, index).exists():
        found.append(files.read_record(Leg, paths.leg(round_, index)))
        index += 1
    return found


def last_round(paths: SessionPaths) -> int:
    """The last round that all competitors have played."""
    entered = legs(paths, 0)
    if not entered:
        raise InputMissingError(
            f"{paths.folder}: expected a tournament, found none; start one: autoevolve "
            f"--tag {paths.session} --strategies conservative aggressive random --rounds 3"
        )
    last = 0
    while len(legs(paths, last + 1)) == len(entered):
        last += 1
    return last


def arena(root: Path, name: str) -> Arena:
    """A tournament to be read, as it was started, whatever is configured now."""
    paths = SessionPaths(name, root)
    last_round(paths)
    found = settings.session_of(name, root).config
    saved = files.read_json(paths.tournament) if paths.tournament.exists() else {}
    names = ("evolve_rounds", "evolve_runs", "pollination", "worktrees")
    known = {key: saved[key] for key in names if key in saved}
    followed = [
        files.read_record(Manifest, SessionPaths(one.session, root).manifest).frozen["strategy"]
        for one in legs(paths, 0)
    ]
    config = replace(found, strategies=followed, **known)
    return Arena(
        config,
        root,
        settings.harness(root),
        lambda own: Journal(SessionPaths(own.session, root).events),
    )


def read(root: Path, name: str) -> Facts:
    """The facts of a tournament, as far as all competitors have played."""
    here = arena(root, name)
    last = last_round(here.paths)
    champion = None
    if here.paths.champion.exists() and not legs(here.paths, last + 1):
        champion = files.read_record(Champion, here.paths.champion)
    return standings.build(here, last, champion)


def _named(options: argparse.Namespace) -> str:
    return options.tag or find(options.root, options.config)


def status(options: argparse.Namespace, output: Output) -> int:
    """Where everybody stands."""
    facts = read(options.root, _named(options))
    rows, metric = facts["leaderboard"], facts["metric"]["name"]
    first = rows[0]
    tried = sum(row["experiments"] for row in rows)
    if not tried:
        print("No results yet.")
        return EXIT_NOTHING
    if output.quiet:
        name, best = first["competitor"], number(first["mean"])
        print(f"Leader: {name}, best: {best} ({tried} experiments)")
        return 0
    print(
        f"Tournament: {facts['session']} | Competitors: {len(rows)} | Rounds played: "
        f"{facts['rounds']}"
    )
    here = arena(options.root, facts["session"])
    for row in rows:
        place = leg.worktree(here.paths, here.config.worktrees, row["session"])
        where = f"  [{place}]" if place.exists() else ""
        text = (
            f"{row['competitor']}: {row['experiments']} experiments, {metric} "
            f"{number(row['mean'])}, {row['wins']} wins"
        )
        print(output.strong(f"{text}  ★ LEADER") + where if row is first else text + where)
    print(answer(facts))
    return 0


def leaderboard(options: argparse.Namespace, output: Output) -> int:
    """The ranking."""
    if options.json:
        print(json.dumps(read(options.root, _named(options)), indent=2, ensure_ascii=False))
        return 0
    return board(options.root, _named(options), output, options.detailed)


def board(root: Path, name: str, output: Output, detailed: bool = False) -> int:
    """Print the ranking of a tournament; returns the exit code."""
    facts = read(root, name)
    metric = facts["metric"]["name"]
    head = ("#", "competitor", metric, "95 % interval", "gain", "own", "adopted", "given", "false")
    rows = [(*head, "runs")]
    for row in facts["leaderboard"]:
        risk = row["expected_false_keeps"]
        rows.append(
            (
                str(row["rank"]),
                row["competitor"],
                number(row["mean"]),
                f"{number(row['low'])} to {number(row['high'])}",
                signed(row["gain"]),
                str(row["own_wins"]),
                str(row["adopted_wins"]),
                str(row["wins_adopted_elsewhere"]),
                "–" if risk is None else f"{risk:.2f}",
                str(row["runs"]),
            )
        )
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(rows[0]))]
    for place, cells in enumerate(rows):
        line = "  ".join(
            cell.ljust(width) if i in (1, 3) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        print(output.strong(line) if place == 1 else line)
    if not output.quiet:
        print("own, adopted: wins it found and took over; given: taken over by others; false:")
        print("expected false keeps")
        print(answer(facts))
    if detailed:
        _details(facts)
    return 0


def _details(facts: Facts) -> None:
    for row in facts["leaderboard"]:
        steps = " → ".join(
            f"{number(point['mean'])} ({point['runs']} runs)" for point in row["trajectory"]
        )
        print(f"\n{row['competitor']} (branch {row['branch']}): {steps}")
        for one in facts["lineage"][row["competitor"]]:
            whose = f"win of {shown(one['origin'])}" if one["origin"] else "its own"
            print(
                f"  {one['experiment']:>3}  {signed(one['gain']):>9}  {shown(one['description'])} "
                f"[{shown(one['category'])}, {whose}]"
            )
    if facts["pollinations"]:
        print("\nwins passed on")
    for one in facts["pollinations"]:
        text = FATES[one["fate"]]
        if "retest" in one:
            found = one["retest"]
            text += f" (experiment {found['experiment']}, gain {signed(found['gain'])})"
        else:
            text += f": {shown(one['detail'])}"
        print(f"  {shown(one['origin'])} -> {one['recipient']}: {text}")


def shown(text: str) -> str:
    """Somebody else's text, for a terminal."""
    return label(one_line(text))


def export(options: argparse.Namespace, output: Output) -> int:
    """Everything, to a file or to standard output."""
    write(options.root, _named(options), options.format, options.output)
    if options.output and not output.quiet:
        print(f"exported {options.format.upper()} to {options.output}", file=sys.stderr)
    return 0


def write(root: Path, name: str, form: str, target: str | None) -> None:
    """Write a tournament as JSON or TSV; to standard output without a target."""
    here = arena(root, name)
    content = _tsv(here) if form == "tsv" else _json(here, read(root, name))
    if target is None:
        sys.stdout.write(content)
        return
    try:
        Path(target).write_text(content, encoding="utf-8")
    except OSError as error:
        raise command.OutputError(f"{target}: cannot be written: {error.strerror}") from None


def _json(here: Arena, facts: Facts) -> str:
    agents = []
    for place, name in enumerate(here.names, 1):
        row = next(r for r in facts["leaderboard"] if r["competitor"] == name)
        tried = [dict(zip(COLUMNS, cells, strict=True)) for cells in _rows(here, row["session"])]
        agents.append(
            {
                "id": place,
                "branch": row["branch"],
                "strategy": name,
                "best_val_bpb": row["mean"],
                "keep_count": row["wins"],
                "total_experiments": row["experiments"],
                "experiments": [
                    {**e, "val_bpb": float(e["val_bpb"]), "memory_gb": float(e["memory_gb"])}
                    for e in tried
                ],
            }
        )
    found = {"evolve": facts["session"], "base_commit": facts["baseline"]["commit"]}
    content: dict[str, Any] = {**found, "agents": agents, "tournament": encode(facts)}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _tsv(here: Arena) -> str:
    lines = ["\t".join(("agent_id", "agent_strategy", *COLUMNS))]
    for place, name in enumerate(here.names, 1):
        session = here.of(place - 1).session
        lines += ["\t".join((str(place), name, *cells)) for cells in _rows(here, session)]
    return "".join(f"{line}\n" for line in lines)


def _rows(here: Arena, session: str) -> list[list[str]]:
    """A competitor's table without its head; one torn line at the end is left out."""
    data = command.read(SessionPaths(session, here.root).results_tsv).decode(errors="replace")
    whole = data[: data.rfind("\n") + 1].splitlines()[1:]
    return [[one_line(cell) for cell in line.split("\t", 4)] for line in whole]
