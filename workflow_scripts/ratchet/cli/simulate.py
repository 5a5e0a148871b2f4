"""ratchet simulate: rules for keeping, side by side in sessions with known truth.

    ratchet simulate --runs 300 --noise-sd 1e-3
    ratchet simulate --world divergent --rules gain,reference

Every rule meets the same proposals with the same luck and the same budget.
Tables go to standard output, progress to standard error.  The same options give
the same output, whatever the number of processes.

Exit codes: 0, or 64 usage, 70 internal error.
"""

import argparse
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from ratchet.base.errors import ConfigError, UsageError
from ratchet.base.terminal import is_terminal, wrap_text
from ratchet.cli.main import CommandParser, list_commands, make_command, print_json
from ratchet.simulation.measures import (
    LEGEND,
    simulation_heading,
    simulation_lines,
    simulation_values,
    summarize_sessions,
)
from ratchet.simulation.session import RULES, Rule, SimulatedSession, SimulationPlan, play_all
from ratchet.simulation.worlds import WORLDS

NAME = "ratchet simulate"
DEFAULT_RULES = ("greedy", "seeds-2", "liberal", "gain", "balanced", "strict", "guaranteed")
DEFAULT_AGAINST = "greedy"
MOST_RUNS = 5000
MOST_SESSIONS = 100_000
MOST_JOBS = 256
"""Above these a digit too many is likelier than a plan."""


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__, epilog=_catalogue())
    add = parser.add_argument
    shown = ",".join(DEFAULT_RULES)
    add("--world", choices=WORLDS, metavar="WORLD", default="typical", help="see below (typical)")
    add("--rules", default=shown, help=f"names, see below, or 'all' (default {shown})")
    beside = f"rule to compare with (default {DEFAULT_AGAINST})"
    add("--against", choices=RULES, metavar="RULE", default=DEFAULT_AGAINST, help=beside)
    add("--runs", type=int, default=100, help="runs of a session, its budget (default 100)")
    add("--noise-sd", type=float, default=5e-4, help="noise sd of one run (default 5e-4)")
    add("--sessions", type=int, default=100, help="sessions of each rule (default 100)")
    add("--seed", type=int, default=1, help="of all random numbers (default 1)")
    add("--baseline", type=int, default=1, help="baseline runs of the judge (default 1)")
    scales = "the judge's scale: known, or learned from the baseline runs (default known)"
    add("--scale", choices=["known", "baseline"], default="known", help=scales)
    add("--jobs", type=int, default=None, help="processes (default: one per core)")
    add("--json", action="store_true", help="all figures as JSON, in the metric's unit")
    return parser.parse_args(argv)


def _catalogue() -> str:
    """The worlds and rules by name, for --help."""
    worlds = list_commands({world.name: world.summary for world in WORLDS.values()})
    rules = list_commands({rule.name: rule.summary for rule in RULES.values()})
    legend = wrap_text(" ".join(LEGEND))
    return "\n".join(["worlds:", worlds, "", "rules:", rules, "", *legend])


def _run(options: argparse.Namespace) -> int:
    plan, jobs = _plan(options), _jobs(options.jobs)
    against = options.against
    rules = _rules(options.rules, against)
    records = simulate_plans(plan, rules, jobs, progress_counter("simulate"))
    summaries = {
        name: summarize_sessions(played, records[against]) for name, played in records.items()
    }
    if options.json:
        fields = simulation_values(plan, rules, summaries, against)
        print_json(fields)
    else:
        shown = simulation_lines(summaries, against)
        print("\n".join([simulation_heading(plan), "", *shown, "", *LEGEND]))
    return 0


def _plan(options: argparse.Namespace) -> SimulationPlan:
    for name, value, most in (
        ("--runs", options.runs, MOST_RUNS),
        ("--sessions", options.sessions, MOST_SESSIONS),
    ):
        if value > most:
            raise UsageError(f"{name}: expected at most {most}, found {value}")
    try:
        return SimulationPlan(
            world=WORLDS[options.world],
            runs=options.runs,
            noise_sd=options.noise_sd,
            sessions=options.sessions,
            seed=options.seed,
            baseline_runs=options.baseline,
            scale_from_baseline=options.scale == "baseline",
        )
    except ConfigError as error:
        raise UsageError(f"{error}; see {NAME} --help") from None


def _jobs(given: int | None) -> int:
    jobs = given if given is not None else min(os.cpu_count() or 1, MOST_JOBS)
    if not 1 <= jobs <= MOST_JOBS:
        raise UsageError(f"--jobs: expected 1 to {MOST_JOBS}, found {jobs}")
    return jobs


def _rules(names: str, against: str) -> tuple[Rule, ...]:
    """The rules asked for in the table's order, with the one to compare with."""
    asked = {name.strip() for name in names.split(",")} - {""}
    if not asked or not asked - {"all"} <= set(RULES):
        raise UsageError(f"--rules: expected names from {', '.join(RULES)}, found {names!r}")
    chosen = asked | {against}
    return tuple(rule for rule in RULES.values() if "all" in asked or rule.name in chosen)


def simulate_plans(
    plan: SimulationPlan, rules: tuple[Rule, ...], jobs: int, tell: Callable[[int, int], None]
) -> dict[str, list[SimulatedSession]]:
    """All sessions of a plan by rule, spread over processes.

    ``tell`` is called with the sessions done and the sessions in all.
    """
    records: dict[str, list[SimulatedSession]] = {rule.name: [] for rule in rules}
    for done, played in enumerate(_sessions(plan, rules, min(jobs, plan.sessions)), start=1):
        for rule, record in zip(rules, played, strict=True):
            records[rule.name].append(record)
        tell(done, plan.sessions)
    return records


def _sessions(
    plan: SimulationPlan, rules: tuple[Rule, ...], jobs: int
) -> Iterator[list[SimulatedSession]]:
    one = partial(play_all, rules, plan)
    if jobs == 1:
        yield from map(one, range(plan.sessions))
        return
    # On an interrupt this process ends the others; theirs would print a traceback each.
    ignore = (signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), signal.signal, ignore)
    try:
        yield from pool.map(one, range(plan.sessions))
    finally:
        # Waits for the sessions being played, one per process.
        pool.shutdown(cancel_futures=True)


def progress_counter(name: str) -> Callable[[int, int], None]:
    """A line that counts on a terminal's standard error, and nothing elsewhere."""
    terminal = is_terminal(sys.stderr)

    def tell(done: int, total: int) -> None:
        if not terminal:
            return
        end = "\r\033[K" if done == total else ""
        print(f"\r{name}: session {done} of {total}{end}", end="", file=sys.stderr, flush=True)

    return tell


main = make_command(NAME, _parse, _run)
