"""autoevolve: competing strategies, run, re-tested and compared.

    autoevolve --strategies conservative aggressive random --rounds 3
    autoevolve init --agents 3 --tag mar15
    autoevolve --tag mar15 --rounds 3
    autoevolve status
    autoevolve leaderboard --detailed
    autoevolve pollinate
    autoevolve export --format tsv -o results.tsv
    autoevolve cleanup --yes

Runs go through Snakemake and go on where they were stopped.  Standard output
carries data, standard error progress.

Exit codes: 0; 1 nothing to show yet, or cleaning up was declined; 64 usage, 65
data, 66 no tournament, 75 another session is running here, others as the
workflow's own.
"""

import argparse
import itertools
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet import __version__
from ratchet.base.errors import InputMissingError, UsageError
from ratchet.base.git import remove_worktree
from ratchet.base.io import read_file, read_json, read_record, write_json
from ratchet.base.structs import replace, to_json_values
from ratchet.base.terminal import BOLD, align_columns, coloured, fit_lines, use_colour
from ratchet.base.text import one_line, one_line_label
from ratchet.cli.main import (
    CommandParser,
    list_commands,
    print_json,
    run_command,
    unknown_command,
    write_output,
)
from ratchet.cli.sessions import (
    WorkflowError,
    add_options,
    bare_name,
    harness_folder,
    parse_overrides,
    read_settings,
    session_of,
    snakemake,
)
from ratchet.config import known_strategies
from ratchet.records.events import Journal
from ratchet.records.paths import SessionPaths, session_name
from ratchet.records.records import Manifest
from ratchet.report.tournament_report import FATES, fixed_digits, signed_digits, tournament_answer
from ratchet.steps.plan import make_plan
from ratchet.task.repository import task_of_config
from ratchet.tournament.arena import Arena
from ratchet.tournament.leg import competitor_worktree
from ratchet.tournament.plan import Leg, Pollination
from ratchet.tournament.pollination import Champion, Facts, tournament_facts

NAME = "autoevolve"
COMMANDS = {
    "init": "set competitors up: sessions, branches and worktrees at the baseline",
    "status": "where everybody stands, in a line each",
    "leaderboard": "the ranking; --detailed with trajectories and wins passed on",
    "pollinate": "one more round, in which the wins of others are re-tested first",
    "export": "everything as JSON or TSV",
    "cleanup": "remove the worktrees; no record is deleted",
}
EXIT_NOTHING = 1
EXIT_DECLINED = 1
COLUMNS = ("commit", "val_bpb", "memory_gb", "status", "description")
"""Columns of the released tool's export; ``val_bpb`` is the metric, whatever its name."""

RELEASED = (
    "architecture-first",
    "hyperparams-first",
    "optimizer-first",
    "regularization-first",
    "efficiency-first",
    "radical",
)
"""Strategies in the order in which `init --agents` gives them out; others follow."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a tournament or one of the commands; returns the exit code."""
    return run_command(NAME, _run, argv)


def _run(argv: Sequence[str]) -> int:
    given = list(itertools.takewhile(("--no-color", "--quiet", "-q").__contains__, argv))
    rest = list(argv[len(given) :])
    name = rest.pop(0) if rest and not rest[0].startswith("-") else ""
    if name and name not in COMMANDS:
        raise unknown_command(name, COMMANDS, NAME)
    actions = {
        "": play,
        "init": init,
        "status": status,
        "leaderboard": leaderboard,
        "pollinate": pollinate,
        "export": export,
        "cleanup": cleanup,
    }
    options = _parse(name, rest)
    options.quiet = bool(set(given) - {"--no-color"})
    options.emphasis = BOLD if use_colour() and "--no-color" not in given else None
    return actions[name](options)


def _parse(name: str, argv: Sequence[str]) -> argparse.Namespace:
    about = f"{__doc__}\ncommands:\n{list_commands(COMMANDS)}"
    parser = CommandParser(prog=f"{NAME} {name}".strip(), description=COMMANDS.get(name, about))
    add = parser.add_argument
    if not name:
        add("--version", action="version", version=f"{NAME} {__version__}")
        add("--no-color", action="store_true", help="before a command: no emphasis")
        add("-q", "--quiet", action="store_true", help="before a command: the least output")
        who = "who competes, from config/strategies.yaml"
        add("--strategies", nargs="+", metavar="NAME", help=who)
        add("--rounds", type=int, help="rounds of the tournament (more of them: go on)")
        add("--runs", type=int, help="training runs of each competitor in each round")
        how = "how wins are passed on"
        add("--pollination", choices=("patches", "best", "none"), help=how)
    elif name == "init":
        group = parser.add_mutually_exclusive_group(required=True)
        many = "competitors: so many of the strategies"
        group.add_argument("-n", "--agents", type=int, help=many)
        group.add_argument("--strategies", nargs="+", metavar="NAME", help="or exactly these")
        add("-b", "--base-branch", help="branch that the task's files must be as in")
        add("--worktree-dir", help="folder for the worktrees (default: in each session's own)")
    elif name == "leaderboard":
        add("--detailed", action="store_true", help="trajectories and wins passed on")
    elif name == "pollinate":
        what = "only say what would be offered to whom"
        add("-n", "--dry-run", action="store_true", help=what)
    elif name == "export":
        add("--format", choices=("json", "tsv"), default="json", help="default: json")
        add("-o", "--output", help="file to write (default: standard output)")
    elif name == "cleanup":
        add("--export-first", action="store_true", help="export as JSON before")
        add("-y", "--yes", action="store_true", help="do not ask")
    if name in ("status", "leaderboard"):
        add("--json", action="store_true", help="all facts as one JSON object")
    if name in ("", "pollinate"):
        side = "competitors that train side by side (default: 1)"
        add("--gpus", type=int, default=1, help=side)
    shown = "name of the tournament (default: the only one, or `session`)"
    add("-t", "--tag", help=shown)
    if name and name != "init":
        add("named", nargs="?", metavar="TAG", type=bare_name, help=shown)
    add_options(parser)
    options = parser.parse_args(argv)
    options.tag = options.tag or getattr(options, "named", None)
    return options


def find_tournament(root: Path, given: Sequence[str]) -> str:
    """The tournament that is meant: the configured session's, or else the only one.

    Raises :class:`InputMissingError` if there is none, :class:`UsageError` if several.
    """
    known = sorted(
        path.parents[2].name for path in (root / "results").glob("*/evolve/0000/leg-0.json")
    )
    configured = read_settings(root, given).session
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
    played, index = [], 0
    while paths.leg(round_, index).exists():
        played.append(read_record(Leg, paths.leg(round_, index)))
        index += 1
    return played


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
    frozen = session_of(name, root).config
    saved = read_json(paths.tournament) if paths.tournament.exists() else {}
    names = ("evolve_rounds", "evolve_runs", "pollination", "worktrees")
    known = {key: saved[key] for key in names if key in saved}
    followed = [
        read_record(Manifest, SessionPaths(one.session, root).manifest).frozen["strategy"]
        for one in legs(paths, 0)
    ]
    config = replace(frozen, strategies=followed, **known)
    return Arena(
        config,
        root,
        harness_folder(root),
        lambda own: Journal(SessionPaths(own.session, root).events),
    )


def read(root: Path, name: str) -> Facts:
    """The facts of a tournament, as far as all competitors have played."""
    here = arena(root, name)
    last = last_round(here.paths)
    champion = None
    if here.paths.champion.exists() and not legs(here.paths, last + 1):
        champion = read_record(Champion, here.paths.champion)
    return tournament_facts(here, last, champion)


def _named(options: argparse.Namespace) -> str:
    return options.tag or find_tournament(options.root, options.config)


def status(options: argparse.Namespace) -> int:
    """Print a line for each competitor, and the answer."""
    facts = read(options.root, _named(options))
    rows, metric = facts["leaderboard"], facts["metric"]["name"]
    first = rows[0]
    tried = sum(row["experiments"] for row in rows)
    if options.json:
        print_json(facts)
        return 0 if tried else EXIT_NOTHING
    if not tried:
        print("No results yet.")
        return EXIT_NOTHING
    if options.quiet:
        name, best = first["competitor"], fixed_digits(first["best"])
        print(f"Leader: {name}, best: {best} ({tried} experiments)")
        return 0
    print(
        f"Tournament: {facts['session']} | Competitors: {len(rows)} | Rounds played: "
        f"{facts['rounds']}"
    )
    here = arena(options.root, facts["session"])
    for row in rows:
        place = competitor_worktree(here.paths, here.config.worktrees, row["session"])
        where = f"  [{place}]" if place.exists() else ""
        text = (
            f"{row['competitor']}: {row['experiments']} experiments, {metric} "
            f"{fixed_digits(row['best'])} (estimate {fixed_digits(row['mean'])}), "
            f"{row['wins']} wins"
        )
        leads = coloured(f"{text}  ★ LEADER", options.emphasis)
        print((leads if row is first else text) + where)
    print("\n".join(fit_lines([tournament_answer(facts)])))
    return 0


def leaderboard(options: argparse.Namespace) -> int:
    """Print the ranking, or all facts as JSON."""
    facts = read(options.root, _named(options))
    if options.json:
        print_json(facts)
        return 0
    return board(facts, options, options.detailed)


def board(facts: Facts, options: argparse.Namespace, detailed: bool = False) -> int:
    """Print the ranking of a tournament; returns the exit code."""
    metric = facts["metric"]["name"]
    head = ("#", "competitor", metric, "estimate", "95 % interval", "gain")
    rows = [(*head, "own", "adopted", "given", "false", "runs")]
    for row in facts["leaderboard"]:
        risk = row["expected_false_keeps"]
        rows.append(
            (
                str(row["rank"]),
                row["competitor"],
                fixed_digits(row["best"]),
                fixed_digits(row["mean"]),
                f"{fixed_digits(row['low'])} to {fixed_digits(row['high'])}",
                signed_digits(row["gain"]),
                str(row["own_wins"]),
                str(row["adopted_wins"]),
                str(row["wins_adopted_elsewhere"]),
                "–" if risk is None else f"{risk:.2f}",
                str(row["runs"]),
            )
        )
    for place, line in enumerate(align_columns(rows, left=(1, 4))):
        print(coloured(line, options.emphasis if place == 1 else None))
    if not options.quiet:
        legend = (
            f"{metric}: as measured; estimate, interval, gain: the judge's; own, adopted: wins "
        )
        legend += "it found and took over; given: taken over by others;"
        lines = [f"{legend} false: expected false keeps", tournament_answer(facts)]
        print("\n".join(fit_lines(lines)))
    if detailed:
        _details(facts)
    return 0


def _details(facts: Facts) -> None:
    for row in facts["leaderboard"]:
        steps = " → ".join(
            f"{fixed_digits(point['mean'])} ({point['runs']} runs)" for point in row["trajectory"]
        )
        print(f"\n{row['competitor']} (branch {row['branch']}): {steps}")
        for one in facts["lineage"][row["competitor"]]:
            whose = f"win of {one_line_label(one['origin'])}" if one["origin"] else "its own"
            print(
                f"  {one['experiment']:>3}  {signed_digits(one['gain']):>9}  "
                f"{one_line_label(one['description'])} "
                f"[{one_line_label(one['category'])}, {whose}]"
            )
    if facts["pollinations"]:
        print("\nwins passed on")
    for one in facts["pollinations"]:
        text = FATES[one["fate"]]
        if "retest" in one:
            retest = one["retest"]
            text += f" (experiment {retest['experiment']}, gain {signed_digits(retest['gain'])})"
        else:
            text += f": {one_line_label(one['detail'])}"
        print(f"  {one_line_label(one['origin'])} -> {one['recipient']}: {text}")


def export(options: argparse.Namespace) -> int:
    """Export the tournament to a file or to standard output."""
    write_export(options.root, _named(options), options.format, options.output)
    if options.output and not options.quiet:
        print(f"exported {options.format.upper()} to {options.output}", file=sys.stderr)
    return 0


def write_export(root: Path, name: str, form: str, target: str | None) -> None:
    """Write a tournament as JSON or TSV; to standard output without a target."""
    here = arena(root, name)
    content = _tsv(here) if form == "tsv" else _json_of(here, read(root, name))
    if target is None:
        sys.stdout.write(content)
    else:
        write_output(Path(target), content)


def _json_of(here: Arena, facts: Facts) -> str:
    agents = []
    for place, name in enumerate(here.names, 1):
        row = next(r for r in facts["leaderboard"] if r["competitor"] == name)
        tried = [dict(zip(COLUMNS, cells, strict=True)) for cells in _rows(here, row["session"])]
        agents.append(
            {
                "id": place,
                "branch": row["branch"],
                "strategy": name,
                "best_val_bpb": row["best"],
                "keep_count": row["wins"],
                "total_experiments": row["experiments"],
                "experiments": [
                    {**e, "val_bpb": float(e["val_bpb"]), "memory_gb": float(e["memory_gb"])}
                    for e in tried
                ],
            }
        )
    head = {"evolve": facts["session"], "base_commit": facts["baseline"]["commit"]}
    content: dict[str, Any] = {**head, "agents": agents, "tournament": to_json_values(facts)}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _tsv(here: Arena) -> str:
    lines = ["\t".join(("agent_id", "agent_strategy", *COLUMNS))]
    for place, name in enumerate(here.names, 1):
        session = here.of(place - 1).session
        lines += ["\t".join((str(place), name, *cells)) for cells in _rows(here, session)]
    return "".join(f"{line}\n" for line in lines)


def _rows(here: Arena, session: str) -> list[list[str]]:
    """A competitor's table without its head; one torn line at the end is left out."""
    data = read_file(SessionPaths(session, here.root).results_tsv).decode(errors="replace")
    whole = data[: data.rfind("\n") + 1].splitlines()[1:]
    return [[one_line(cell) for cell in line.split("\t", 4)] for line in whole]


class Tournament:
    """A tournament by name, with the settings that it was started with."""

    def __init__(self, options: argparse.Namespace, new: Mapping[str, Any], known: bool) -> None:
        """``new`` settings come before those of the command line, and these before the saved.

        ``known`` says that there must be one already.
        """
        self.root: Path = options.root
        given = parse_overrides(options.config)
        tag = options.tag or given.get("session")
        if tag is None:
            tag = find_tournament(self.root, options.config) if known else None
        if tag is not None:
            given["session"] = tag
        name = read_settings(self.root, [f"session={json.dumps(tag)}"] if tag else []).session
        self.paths = SessionPaths(name, self.root)
        self.saved: dict[str, Any] = {}
        if self.paths.tournament.exists():
            self.saved = read_json(self.paths.tournament)
        asked = {key: value for key, value in new.items() if value is not None}
        self.values = {**self.saved, **given, **asked, "session": name}
        self.harness = harness_folder(self.root)
        # Every mistake is named before anything is written.
        self.plan = make_plan(self.values, self.root, self.harness, owner=False)

    def snakemake(self, targets: Sequence[str | Path], gpus: int = 1) -> None:
        """Run the workflow to some rules or files; raises :class:`WorkflowError`."""
        if gpus < 1:
            raise UsageError(f"--gpus: expected at least 1, found {gpus}")
        write_json(self.paths.tournament, self.values)
        names = [str(t.relative_to(self.root)) if isinstance(t, Path) else t for t in targets]
        code = snakemake(self.root, self.harness, self.values, names, gpus)
        if code:
            raise WorkflowError("the tournament is not at its end", code, least=1)


def play(options: argparse.Namespace) -> int:
    """Play a tournament to its end; the leaderboard stands on standard output."""
    new = {
        "strategies": options.strategies,
        "evolve_rounds": options.rounds,
        "evolve_runs": options.runs,
        "pollination": options.pollination,
    }
    played = Tournament(options, new, known=False)
    played.snakemake(["evolve"], options.gpus)
    return board(read(played.root, played.paths.session), options)


def init(options: argparse.Namespace) -> int:
    """Set competitors up at the baseline."""
    names = first_strategies(options) if options.strategies is None else options.strategies
    if options.tag is None:
        raise UsageError("init: expected --tag NAME for the tournament, found none")
    new = {"strategies": names, "worktrees": options.worktree_dir}
    made = Tournament(options, new, known=False)
    if made.saved and made.saved.get("strategies") != names:
        raise UsageError(
            f"{made.paths.tournament}: there is a tournament {options.tag!r} of "
            f"{', '.join(made.saved.get('strategies', []))}; choose another --tag"
        )
    if options.base_branch is not None:
        _check_branch(made, options.base_branch)
    count = len(made.plan.config.strategies)
    made.snakemake([made.paths.leg(0, index) for index in range(count)])
    for name in [] if options.quiet else names:
        session = session_name(made.paths.session, name)
        place = competitor_worktree(made.paths, made.plan.config.worktrees, session)
        print(f"{name:<22} branch ratchet/{session}  worktree {place}")
    print(f"run them: autoevolve --tag {made.paths.session} --rounds 3", file=sys.stderr)
    return 0


def first_strategies(options: argparse.Namespace) -> list[str]:
    """Strategies for ``--agents`` competitors, the released tool's first."""
    harness = harness_folder(options.root)
    known = known_strategies(harness / "config", options.root / "config")
    order = [n for n in RELEASED if n in known] + [n for n in known if n not in RELEASED]
    if not 1 <= options.agents <= len(order):
        raise UsageError(
            f"--agents: expected 1 to {len(order)}, as many strategies as there are, found "
            f"{options.agents}"
        )
    return order[: options.agents]


def _check_branch(made: Tournament, branch: str) -> None:
    """Refuse files that are not the branch's: sessions start from what lies in the checkout."""
    defined = task_of_config(made.plan.config, made.root, made.harness)
    folder = defined.folder
    for name in defined.mutable:
        shown = subprocess.run(
            ["git", "-C", str(defined.clone or folder), "show", f"{branch}:./{name}", "--"],
            capture_output=True,
            check=False,
        )
        if shown.returncode:
            raise InputMissingError(f"--base-branch: {branch} has no file {folder / name}")
        if shown.stdout != (folder / name).read_bytes():
            raise UsageError(
                f"--base-branch: {folder / name} is not as in {branch}, and sessions start from "
                f"the files that lie there; commit or put them back, or: git switch {branch}"
            )


def pollinate(options: argparse.Namespace) -> int:
    """Pass the wins so far on and have them re-tested, in one more round."""
    played = Tournament(options, {}, known=True)
    last = last_round(played.paths)
    if last == 0:
        raise UsageError(
            f"tournament {played.paths.session}: nobody has played yet; start it: autoevolve "
            f"--tag {played.paths.session} --rounds 1"
        )
    offers = played.paths.pollination(last)
    if options.dry_run:
        played.snakemake([offers])
    else:
        played.values["evolve_rounds"] = last + 1
        played.snakemake(["evolve"], options.gpus)
    passed = read_record(Pollination, offers)
    for queue in passed.queues:
        for win in queue.wins:
            print(f"{win.origin} -> {queue.competitor}: {one_line_label(win.description)}")
    if not any(queue.wins for queue in passed.queues):
        print("there is nothing to pass on", file=sys.stderr)
    return 0 if options.dry_run else board(read(played.root, played.paths.session), options)


def cleanup(options: argparse.Namespace) -> int:
    """Remove the worktrees; what is not of the history goes to the session's folder first."""
    played = Tournament(options, {}, known=True)
    entered = legs(played.paths, 0)
    if not options.yes:
        if not sys.stdin.isatty():
            raise UsageError("cleanup: expected --yes where nobody can be asked")
        print(f"remove {len(entered)} worktrees (branches, results and store stay)? [y/N] ", end="")
        if input().strip().lower() not in ("y", "yes"):
            return EXIT_DECLINED
    # Refused while a session is at work in the worktrees.
    make_plan(played.values, played.root, played.harness, owner=True, tournament=True)
    if options.export_first:
        place = Path(f"evolve-{played.paths.session}-export.json")
        write_export(played.root, played.paths.session, "json", str(place))
        print(f"exported to {place}", file=sys.stderr)
    for one in entered:
        own = SessionPaths(one.session, played.root)
        place = competitor_worktree(played.paths, played.plan.config.worktrees, one.session)
        there = place.exists()
        for name in remove_worktree(own.repository, place, own.from_worktree):
            print(f"moved {one_line_label(name)} to {own.from_worktree}", file=sys.stderr)
        if there and not options.quiet:
            print(f"removed {place}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
