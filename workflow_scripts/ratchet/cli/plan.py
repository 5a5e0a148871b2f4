"""ratchet plan: what a session will cost in hours, and in money, before it starts.

    ratchet plan
    ratchet plan --config rounds=60 deadline_hours=9 --gpus 8 --price 2.49
    ratchet plan night --json

Each line says how many runs a part of the session takes, how long they take,
and where the figure is from: the task's budget, or the runs of this task that
the store has from this hardware.  What the search finds is not known before;
simulated sessions under the same judge tell how many retests to expect.  Ranges
hold in 8 of 10 cases.  Of a session that has begun it says what is left.
Nothing is started.

Exit codes: 0, or 64 usage or settings, 65 data, 66 no input, 70 internal error.
"""

import argparse
import contextlib
import functools
import heapq
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.errors import DataError, InputMissingError, UsageError
from ratchet.base.io import digest, read_if_whole, read_json
from ratchet.base.structs import from_json_values, replace, to_json_values
from ratchet.base.terminal import WIDTH, align_columns, cut_line, wrap_text
from ratchet.base.text import DASH, finite_number, iso_time, one_line_label, plural, spoken_duration
from ratchet.cli.main import CommandParser, check_positive, make_command, print_json
from ratchet.cli.sessions import add_options, parse_overrides, read_settings, task_of
from ratchet.config import GUARANTEED, Config
from ratchet.integrity.seal import is_finished
from ratchet.judge.settings import Mode
from ratchet.monitor.outlook import (
    BESIDE,
    DEADLINE,
    MAX_RUNS,
    OVER,
    ROUNDS,
    Done,
    Outlook,
    Range,
    Shape,
    Steps,
    Timing,
    session_outlook,
)
from ratchet.records.events import read_events, warm_up_seconds
from ratchet.records.history import History
from ratchet.records.paths import SessionPaths
from ratchet.records.records import (
    CertificationRun,
    Manifest,
    Outcome,
    Preset,
    Role,
)
from ratchet.records.store import RECORD, RunRecord
from ratchet.runs.hardware import current_hardware
from ratchet.session import run_budget, transfer_weight
from ratchet.simulation.session import JudgeKeeper, Rule, SimulationPlan, play_all
from ratchet.simulation.worlds import WORLDS
from ratchet.steps.limits import Limits
from ratchet.steps.prepare import choose_session_preset, judge_mode
from ratchet.task.task import Task

NAME = "ratchet plan"

SIMULATED = 4
"""Sessions in each world: where much improves, and where nothing does."""

LONGEST_SIMULATED = {GUARANTEED: 200}
LONGEST = 100
"""Experiments that are simulated, some seconds at most; a longer search goes on alike."""

SESSIONS = 20
"""Latest sessions among which one of the same task is looked for."""

STORED = 300
"""Latest runs of the store that are looked at."""


@functools.cache
def expected_shapes(mode: str, experiments: int, max_replicates: int) -> tuple[Shape, ...]:
    """What searches under this judge are like in simulated sessions."""
    length = min(experiments, LONGEST_SIMULATED.get(mode, LONGEST))
    begin = functools.partial(JudgeKeeper, mode=Mode(mode), max_replicates=max_replicates)
    # Retests of the last experiments would be cut off by a budget of as many runs.
    runs = 1 + length * (3 if mode == GUARANTEED else 1) + max_replicates
    shapes = []
    for world in ("typical", "null"):
        plan = SimulationPlan(WORLDS[world], runs=runs, scale_from_baseline=True)
        for number in range(SIMULATED):
            (found,) = play_all((Rule(mode, "", begin),), plan, number)
            further = (found.retests + found.incumbent_runs) / max(found.proposals, 1)
            kept = sum(row.decision.keep for row in found.rows) * experiments / found.proposals
            shapes.append(Shape(further, round(kept)))
    return tuple(shapes)


def outlook_of(
    chosen: Config,
    task: Task,
    root: Path,
    preset: Preset | None = None,
    gpus: int | None = None,
    now: float | None = None,
) -> Outlook:
    """The length of a session, or of what is left of it, by the runs that are known."""
    paths, sized = SessionPaths(chosen.session, root), task.sized(preset)
    budget = run_budget(chosen.frozen, sized)["seconds"]
    limits = _limits(chosen, paths)
    done = work_done(paths, chosen) if paths.manifest.is_file() else Done()
    shapes = expected_shapes(
        judge_mode(chosen), chosen.rounds * chosen.candidates, chosen.max_replicates
    )
    tried = done.rounds * chosen.candidates
    if tried:
        # Its own rounds count as much as they are long.
        own, weight = done.further / tried, tried / (chosen.rounds * chosen.candidates)
        shapes = tuple(
            Shape(weight * own + (1 - weight) * each.further, each.kept) for each in shapes
        )
    timing = _own_timing(paths, budget) or _stored_timing(chosen, sized, preset, root)
    if timing is None and budget is not None:
        timing = Timing.of_budget(budget)
    if timing is not None and sized.compile_cache is not None and chosen.compile_cache_gb:
        timing = timing.compiling(_warm_up(paths, task.name))
    wanted = chosen.transfer_scale
    left = 3600 * chosen.deadline_hours
    if limits is not None:
        left = max(0.0, limits.deadline - (time.time() if now is None else now))
    found = session_outlook(
        chosen,
        shapes,
        timing,
        left,
        transfer_weight(chosen.frozen, wanted, task, preset) if wanted else 0.0,
        gpus or (limits.side_by_side if limits else 1),
        done,
        last_steps(root, task.name),
    )
    guard = task.guard_seconds if task.guard else None
    return replace(found, guard_seconds=guard)


def last_steps(root: Path, task: str) -> Steps:
    """How long the last session of a task took for what makes no run, by Snakemake's benchmarks."""
    for paths in _last_sessions(root, task, "report.json"):
        return Steps(*(_benchmark(paths.benchmark(name)) for name in ("prepare", "report")))
    return Steps()


def _last_sessions(root: Path, task: str, file: str) -> Iterator[SessionPaths]:
    """Sessions of a task that have a file, the one that wrote it last first."""
    pages = ((path.stat().st_mtime, path) for path in (root / "results").glob(f"*/{file}"))
    for _, page in heapq.nlargest(SESSIONS, pages):
        paths = SessionPaths(page.parent.name, root)
        manifest = read_if_whole(Manifest, paths.manifest)
        if manifest is not None and manifest.task == task:
            yield paths


def _warm_up(own: SessionPaths, task: str) -> float:
    """Seconds in which new code compiles: in the session itself, or else in the task's last one."""
    known = itertools.chain([own], _last_sessions(own.root, task, own.events.name))
    return next(filter(None, (warm_up_seconds(read_events(each.events)) for each in known)), 0.0)


def _benchmark(path: Path) -> float | None:
    """Seconds of a step: the first column of the last line."""
    try:
        return float(path.read_text(encoding="utf-8").splitlines()[-1].split("\t")[0])
    except (OSError, ValueError, IndexError):
        return None


def _limits(chosen: Config, paths: SessionPaths) -> Limits | None:
    """The limits that are in force in a session that has begun."""
    path = _limits_file(chosen, paths)
    return None if path is None else read_if_whole(Limits, path)


def _limits_file(chosen: Config, paths: SessionPaths) -> Path | None:
    number, token = (paths.known_limits() or [(0, "")])[-1]
    return paths.limits(number, token) if token == chosen.limits_token else None


def work_done(paths: SessionPaths, chosen: Config) -> Done:
    """What a session has done, by its records."""
    baseline = len(list((paths.folder / "baseline").glob("run-*.json")))
    if not paths.baseline.is_file():
        return Done(baseline=baseline, used=baseline)
    history = History.read(paths)
    state, rounds = history.state, sum(bool(each.rulings) for each in history.verdicts)
    found = Done(
        baseline=chosen.baseline_replicates,
        rounds=rounds,
        kept=state.incumbent.kept,
        further=max(0, state.runs_used - baseline - rounds * chosen.candidates),
        used=state.runs_used,
        ended=rounds >= chosen.rounds
        or (state.stop is not None and _holds(paths, chosen, state.round)),
    )
    if not found.ended:
        return found
    certified = sum(
        run is not None and run.run is not None
        for number in range(chosen.certification_runs)
        for run in [read_if_whole(CertificationRun, paths.certify_run(number))]
    )
    confirmed = sum(
        paths.confirm_run(number).is_file() for number in range(chosen.confirm_replicates)
    )
    return replace(
        found,
        certification=chosen.certification_runs + 1 if paths.certification.is_file() else certified,
        confirmation=2 * confirmed,
        transfer=chosen.transfer_runs if paths.transfer.is_file() else 0,
        reported=is_finished(paths),
    )


def _holds(paths: SessionPaths, chosen: Config, last: int) -> bool:
    """Whether the limits that ended a search in its ``last`` round are those of now."""
    path = _limits_file(chosen, paths)
    if path is None:
        return False
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mtime_ns <= paths.round(last).steer.stat().st_mtime_ns
    return True


def _own_timing(paths: SessionPaths, budget: float | None) -> Timing | None:
    """That of the runs which a session has made itself."""
    walls = [
        finite_number(event.get("wall_seconds"))
        for event in read_events(paths.events)
        if event["event"] == "run_finished" and event.get("role") != Role.TRANSFER
    ]
    return Timing.of_runs([w for w in walls if w is not None], [], "of this session", budget)


def _stored_timing(chosen: Config, task: Task, preset: Preset | None, root: Path) -> Timing | None:
    """That of the store's runs of a task, by the same budget, on hardware like this."""
    budget = run_budget(chosen.frozen, task)
    wanted = {
        "command": list(task.command),
        "metric": task.metric.name,
        "budget_seconds": budget["seconds"],
        "budget_steps": budget["steps"],
        "device": task.device,
        "hardware": to_json_values(current_hardware(task.device, devices=chosen.devices)),
        "variables": to_json_values(task.environment_of(preset)),
    }
    new, again, seen = list[float](), list[float](), set[str]()
    for inputs, record in _stored(SessionPaths(chosen.session, root)):
        same = all(inputs.get(name, value) == value for name, value in wanted.items())
        if not same or inputs.get("guard") or record.outcome is not Outcome.OK:
            continue
        source = digest(inputs.get("sources"))
        (again if source in seen else new).append(record.wall_seconds)
        seen.add(source)
    return Timing.of_runs(new, again, "of this task here", budget["seconds"])


def _stored(paths: SessionPaths) -> Iterator[tuple[Mapping[str, Any], RunRecord]]:
    """Inputs and records of the store's latest runs, the oldest first."""
    found = (p for p in paths.store.runs.glob(f"*/*/{RECORD}"))
    last = heapq.nlargest(STORED, ((path.stat().st_mtime, path) for path in found))
    for _, path in reversed(last):
        try:
            entry = read_json(path)
            yield entry["inputs"], from_json_values(RunRecord, entry["record"])
        except (InputMissingError, DataError, KeyError, TypeError, AttributeError):
            continue


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    parser.add_argument("--price", type=float, help="of an hour of the machine, as 2.49")
    beside = "trainings side by side, as --resources gpu=N gives them (default 1)"
    parser.add_argument("--gpus", type=int, metavar="N", help=beside)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    add_options(parser, named=True)
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> int:
    check_positive("--price", options.price)
    if options.gpus is not None and options.gpus < 1:
        raise UsageError(f"--gpus: expected at least 1, found {options.gpus}")
    parse_overrides(options.config)
    chosen = read_settings(options.root, options.config)
    task = task_of(chosen, options.root)
    preset = choose_session_preset(chosen, task)
    now = time.time()
    found = outlook_of(chosen, task, options.root, preset, options.gpus, now)
    begun = SessionPaths(chosen.session, options.root).manifest.is_file()
    if options.json:
        print_json(plan_facts(found, chosen, options.price, begun, now))
    else:
        print("\n".join(plan_lines(found, chosen, options.price, begun, now)))
    return 0


def plan_facts(
    found: Outlook, chosen: Config, price: float | None, begun: bool, now: float
) -> dict[str, Any]:
    """All figures of a plan as JSON values; times are in seconds."""
    cost = None if found.seconds is None or price is None else _cost(found.seconds, price)
    return {
        "session": chosen.session,
        "begun": begun,
        "planned": iso_time(now),
        **to_json_values(found),
        "price": price,
        "cost": None if cost is None else to_json_values(cost),
        "agent_dollars": chosen.agent_dollars if chosen.agent else None,
    }


def _cost(seconds: Range, price: float) -> Range:
    return Range(*(price * each / 3600 for each in (seconds.low, seconds.middle, seconds.high)))


def plan_lines(
    found: Outlook, chosen: Config, price: float | None, begun: bool, now: float
) -> Iterator[str]:
    """A table of the parts, then what ends the session, and what it costs."""
    if begun and found.is_over:
        yield from wrap_text(f"session {one_line_label(chosen.session)}: {OVER}", WIDTH)
        return
    what = "what is left" if begun else "before its start"
    beside = f"{plural(found.side_by_side, 'training')} at a time"
    yield cut_line(f"session {one_line_label(chosen.session)}, {what}; {beside}", WIDTH)
    yield ""
    rows = [("part", "runs", "each", "time", "from")]
    for part in found.parts:
        is_run = part.name not in BESIDE
        runs = part.runs.shown(_whole) if is_run else DASH
        each = DASH if part.each is None or not is_run else _seconds(part.each)
        is_known = (part.seconds is not None and part.seconds.high > 0) or is_run
        length = DASH
        if part.seconds is not None and is_known:
            length = part.seconds.shown(spoken_duration)
        rows.append((part.name, runs, each, length, part.source))
    length = DASH if found.seconds is None else found.seconds.shown(spoken_duration)
    rows.append(("in all", found.runs.shown(_whole), "", length, "8 of 10 cases"))
    for line in align_columns(rows, left=(0, 4)):
        yield cut_line(line, WIDTH)
    yield ""
    for name, text in _said(found, chosen, price, begun, now):
        yield from wrap_text(text, WIDTH, f"{name:<10}", " " * 10)


def _said(
    found: Outlook, chosen: Config, price: float | None, begun: bool, now: float
) -> Iterator[tuple[str, str]]:
    yield "each run", found.source
    if found.guard_seconds is not None:
        yield "guard", f"up to {spoken_duration(found.guard_seconds)} more before each experiment"
    yield "ends", _ends(found, chosen)
    if found.seconds is not None and begun:
        low, high = (iso_time(now + each) or "" for each in (found.seconds.low, found.seconds.high))
        bounds = dict.fromkeys(each[:16].replace("T", " ") for each in (low, high))
        yield "expected", f"{' to '.join(bounds)} (UTC)"
    if price is not None and found.seconds is not None:
        cost = _cost(found.seconds, price)
        yield "price", f"{cost.middle:.2f} ({cost.low:.2f} to {cost.high:.2f}) at {price:g} an hour"
    if chosen.agent:
        most = chosen.agent_dollars
        limit = "agent_dollars sets no limit" if most is None else f"up to {most:g} dollars"
        yield "agent", f"{limit}, beside the hours of the machine"


def _ends(found: Outlook, chosen: Config) -> str:
    """Which limit ends the session, the likeliest first."""
    hours = spoken_duration(found.deadline_seconds)
    words = {
        ROUNDS: "after its last round",
        MAX_RUNS: f"by max_runs={chosen.max_runs}",
        DEADLINE: f"by the deadline ({hours} are left)",
    }
    parts = []
    for each in found.ends:
        text = words[each.limit]
        if each.limit != ROUNDS:
            text += f", after about {plural(each.rounds, 'round')} of {chosen.rounds}"
        parts.append(text if len(found.ends) == 1 else f"{text} ({100 * each.share:.0f} %)")
    text = "; or ".join(parts)
    if all(each.limit != DEADLINE for each in found.ends) and found.seconds is not None:
        text += f"; the deadline, {hours}, is not reached"
    if chosen.target is not None:
        text += f"; or before, where the target {chosen.target:g} is reached"
    return text


def _whole(value: float) -> str:
    return f"{value:.0f}"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


main = make_command(NAME, _parse, _run)
