"""``ratchet audit``: which kept changes of a finished session are real.

    ratchet audit --results results.tsv
    ratchet audit --results results.tsv --noise-sd 0.0005 --repo clone --json
    ratchet audit --results results.tsv --html audit.html
    ratchet audit --results results.tsv --repo clone --task tasks/bytelm --run

Every change is judged by the whole log, by what came after it too; with ``--run`` also
by fresh runs of it and of its incumbent on this machine.  Exit codes: 0, or 64 usage,
65 data, 66 no input, 70 internal, 74 output, 75 busy or stopped early; with ``--run`` 0
if all hold, 1 if some do not or cannot be run, 2 if some are undecided.  The log is
never written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.errors import (
    EXIT_TEMPORARY,
    EXIT_USAGE,
    DataError,
    RatchetError,
    SessionBusyError,
    UsageError,
)
from ratchet.base.git import Commits
from ratchet.base.io import read_file, read_json, to_json, write_bytes
from ratchet.base.structs import Frozen, replace, to_json_values
from ratchet.base.terminal import align_columns, cut_line, wrap_text
from ratchet.base.text import one_line, one_line_label, plural
from ratchet.cli.main import (
    CommandParser,
    add_log_options,
    check_positive,
    decimals,
    make_command,
    may_write,
    print_json,
    read_log,
    tell,
    tell_assumptions,
    write_page,
)
from ratchet.cli.sessions import (
    add_options,
    harness_folder,
    parse_overrides,
    read_settings,
    snakemake,
    task_of,
)
from ratchet.integrity.seal import begin_workflow
from ratchet.judge.settings import Settings, scale_from
from ratchet.logs.audit import (
    CHANCE,
    CREDIBLE,
    MOST_SEEDS,
    OVERTURNED,
    TESTS,
    Audit,
    audit,
    by_replicates,
)
from ratchet.logs.columns import number_of
from ratchet.logs.experiments import LogExperiments
from ratchet.logs.judging import Rules, noise_source, noise_span, settings_for
from ratchet.logs.rerun import Choice, Clone, build_audit_plan
from ratchet.logs.rerun_plan import AUDIT_LEVEL, AuditPlan, KeptStanding
from ratchet.logs.smoothing import LEVEL, NoisePrior
from ratchet.logs.table import RowStatus
from ratchet.records.paths import SessionPaths
from ratchet.records.store import Store
from ratchet.session import run_budget
from ratchet.simulation.power import NoiseFloor, noise_from_replicates
from ratchet.steering.categories import classify_change
from ratchet.steering.code_diff import net_code_lines
from ratchet.steps.ownership import owns_session
from ratchet.steps.plan import make_plan

Facts = dict[str, Any]
NAME = "ratchet audit"
TARGET = "audit"
EXIT_SOME_FAIL, EXIT_UNDECIDED = 1, 2
_INTERVAL = f"{100 * LEVEL:.0f} %"

STATED_NODES = 3
"""Noise nodes for a stated noise floor; they are 5 % apart, and more say the same."""


def lines(facts: Facts) -> Iterator[str]:
    """Noise floor, a line for each kept change, and what holds of them."""
    noise, changes = facts["noise"], facts["changes"]
    places = decimals(noise["sd"]) + 1
    head = f"{facts['experiments']} experiments of {one_line_label(facts['metric'], 30)}"
    yield f"{head}, {plural(len(changes), 'kept change')} after the baseline"
    low, high = (f"{noise[end]:.{places}f}" for end in ("low", "high"))
    yield f"noise floor: ±{noise['sd']:.{places}f} ({_INTERVAL} interval {low} to {high})"
    yield from _wrapped(noise["source"], "  ")
    yield ""
    if not changes:
        yield "nothing was kept after the baseline, so there is nothing to audit"
        return
    yield from _table(changes, places - 1)
    for paragraphs in (_summary(facts, places), _runs_to_make(changes)):
        yield ""
        for text in paragraphs:
            yield from _wrapped(text)
    if facts.get("reruns"):
        yield ""
        yield from _reruns(facts["reruns"], places)


def _table(changes: list[Facts], places: int) -> Iterator[str]:
    """``then`` and ``now`` are P(better)."""
    with_lines = "lines" in changes[0]
    code = ["code"] if with_lines else []
    rows = [["line", "printed", "then", "now", "gain", "from", "to", "seeds", *code, "change"]]
    for change in changes:
        step, *gain = (f"{change[key]:+.{places}f}" for key in ("step", "gain", "low", "high"))
        seeds = f">{MOST_SEEDS}" if change["seeds"] is None else str(change["seeds"] or "-")
        row = [str(change["line"]), step, f"{change['then']:.2f}", f"{change['better']:.2f}"]
        row += [*gain, seeds]
        if with_lines:
            row.append("?" if change["lines"] is None else f"{change['lines']:+d}")
        rows.append([*row, one_line_label(change["description"])])
    yield from _aligned(rows, len(rows[0]) - 1)


def _summary(facts: Facts, places: int) -> Iterator[str]:
    count, held = len(facts["changes"]), facts["surviving"]
    tests = ", ".join(f"{held[name]} at P >= {TESTS[name]:g} ({name})" for name in TESTS)
    yield f"one by one: of {count} kept changes {tests} are credible"
    yield (
        f"expected: {facts['expected_true']:.1f} are better ({_INTERVAL} interval "
        f"{facts['least_true']} to {facts['most_true']}), {facts['expected_false_keeps']:.1f} "
        "are false keeps"
    )
    surest = facts["together"]
    together = f"not even the surest one with P {CREDIBLE:g}"
    if surest:
        named = ", ".join(map(str, sorted(surest)))
        together = f"the surest {len(surest)} with P {facts['together_hold']:.3f} (line {named})"
    yield f"together: all {count} hold with P {facts['all_hold']:.2g}; {together}"
    low, high = (f"{facts[end]:+.{places}f}" for end in ("total_low", "total_high"))
    yield (
        f"total gain: {facts['total']:+.{places}f} ({_INTERVAL} interval {low} to {high}); "
        f"printed {facts['printed']:+.{places}f}, which is selected and so too good on average"
    )


def _runs_to_make(changes: list[Facts]) -> Iterator[str]:
    chosen = sorted(
        (change for change in changes if change["seeds"]), key=lambda c: (c["seeds"], c["line"])
    )
    if chosen:
        listed = ", ".join(f"line {c['line']} ({c['seeds']})" for c in chosen)
        yield f"worth a re-run, with seeds for each side: {listed}"
    over = [str(c["line"]) for c in changes if c["better"] < OVERTURNED]
    if over:
        yield f"overturned by the rest of the log: line {', '.join(over)}"
    beyond = [str(c["line"]) for c in changes if c["seeds"] is None]
    if beyond:
        yield f"too small for {MOST_SEEDS} seeds to decide: line {', '.join(beyond)}"
    yield (
        "then, now: P(better) by the rows up to the change, and by the whole log; from, to: "
        f"{_INTERVAL} interval of the gain"
    )
    yield (
        "seeds: the smallest n for which, with n runs of the change and n of its parent in turn "
        "on one machine (their difference is normal with variance 2 s^2 / n about the true gain), "
        f"P(better) ends at {CREDIBLE:g} or more, or below {OVERTURNED:g}, with probability "
        f"{CHANCE:g}"
    )


def _reruns(found: Facts, places: int) -> Iterator[str]:
    """Each change by its fresh runs, and in the last line how many hold."""
    yield from _wrapped(
        f"run again here, session {one_line_label(found['session'], 64)}: {found['runs']} runs of "
        f"{one_line_label(found['task'], 40)} on {one_line_label(found['hardware'], 80)}"
    )
    if found["noise_sd"] is not None:
        yield from _wrapped(
            f"noise floor here: ±{found['noise_sd']:.{places}f}, from runs of the same code "
            f"({found['freedom']} degrees of freedom)"
        )
    rows = [["line", "seeds", "gain", "from", "to", "P", "stands", "change"]]
    for change in found["changes"]:
        numbers = ((change[key], f"+.{places - 1}f") for key in ("gain", "low", "high"))
        cells = [
            "-" if value is None else f"{value:{form}}"
            for value, form in (*numbers, (change["better"], ".2f"))
        ]
        about = [change["standing"], one_line_label(change["description"])]
        rows.append([str(change["line"]), str(change["seeds"]), *cells, *about])
    yield from _aligned(rows, 6)
    for change in found["changes"]:
        for said in (*([change["reason"]] if change["reason"] else []), *change["notes"]):
            yield from _wrapped(f"line {change['line']}: {one_line_label(said, 400)}", "  ")
    if found["whole"] is not None:
        whole = found["whole"]
        between = ""
        if whole["low"] is not None:
            low, high = (f"{whole[end]:+.{places}f}" for end in ("low", "high"))
            between = f" ({100 * whole['level']:.0f} % interval {low} to {high})"
        yield from _wrapped(
            f"from end to end: {whole['gain']:+.{places}f}{between}, by the runs of the first "
            f"incumbent and of line {whole['end']}"
        )
    yield from _wrapped(
        f"gain: difference of the means, from, to: its {100 * AUDIT_LEVEL:.0f} % interval (Welch); "
        "P: P(better) by these runs alone"
    )
    yield found["sentence"]


def _aligned(rows: list[list[str]], right: int) -> Iterator[str]:
    """Lines of a table, the first columns to the right; a long line is cut."""
    yield from map(cut_line, align_columns(rows, range(right, len(rows[0])), " "))


def _wrapped(text: str, indent: str = "") -> Iterator[str]:
    yield from wrap_text(text, first=indent, rest=indent or "  ")


class RerunsStoppedError(RatchetError):
    """Snakemake, which runs everything, ended early.

    Its status is passed on unless it could be taken for a verdict, as 1 could.
    """

    def __init__(self, code: int) -> None:
        super().__init__(
            "not everything was run again; the reason is above, the same command goes on"
        )
        by_signal = 128 - code if code < 0 else code
        self.exit_code = by_signal if by_signal >= EXIT_USAGE else EXIT_TEMPORARY


class Reruns:
    """The session in which a log's kept changes are run again."""

    def __init__(self, options: argparse.Namespace, log: Path) -> None:
        self.options = options
        self.root: Path = options.root
        self.harness = harness_folder(self.root)
        self.sha256 = hashlib.sha256(read_file(log)).hexdigest()
        given = parse_overrides(options.config)
        name = options.session or given.get("session") or self._name(given)
        # A name that is none is refused before it becomes a path.
        name = read_settings(self.root, [f"session={json.dumps(name)}"]).session
        self.paths = SessionPaths(name, self.root)
        saved = {}
        if self.paths.rerun_settings.exists():
            saved = read_json(self.paths.rerun_settings)
        task = {"task": options.task} if options.task is not None else {}
        self.values: dict[str, Any] = {**saved, **given, **task, "session": name}
        self._check()
        self.plan = make_plan(self.values, self.root, self.harness, owner=False)
        if self.plan.config.preset is not None:
            raise UsageError(
                "--run: expected no preset, since that sets constants of the task's own files and "
                f"those of commits are run as they are, found {self.plan.config.preset!r}; add "
                "--config preset=null"
            )
        self.task = task_of(self.plan.config, self.root)

    def _name(self, given: Mapping[str, Any]) -> str:
        """By task and log, so that the same command finds the same session."""
        task = self.options.task or given.get("task") or read_settings(self.root).task
        place = task["repo"] if isinstance(task, Mapping) else task
        named = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(str(place)).name).strip("-")[:40] or "task"
        return f"audit-{named}-{self.sha256[:8]}"

    def _check(self) -> None:
        """Refuse a session of another kind, and one that is at work."""
        if self.paths.manifest.exists() and not self.paths.rerun_plan.exists():
            raise UsageError(
                f"{self.paths.folder}: expected no session or an audit, found one with rounds of "
                "its own; choose another name: --session NAME"
            )
        if owns_session(self.root, self.paths.session):
            raise SessionBusyError(
                f"{self.paths.folder}: this audit is running already; see ratchet status "
                f"{self.paths.session}"
            )

    @property
    def seconds(self) -> float | None:
        """Training budget of one run; ``None`` for a budget in steps."""
        return run_budget(self.plan.config.frozen, self.task)["seconds"]

    def said(self, facts: Mapping[str, Any]) -> list[str]:
        """What is assumed of log and task; refuses two metrics that cannot be one."""
        metric, logged = self.task.metric, one_line(str(facts["metric"]))
        if metric.direction.value != facts["direction"]:
            raise UsageError(
                f"--task: expected a task that is to {facts['direction']} its metric, as the "
                f"log is read ({logged}), found {self.task.name} with {metric.name} to "
                f"{metric.direction.value}; name another, or say of the log: --direction "
                f"{metric.direction.value}"
            )
        if metric.name == facts["metric"]:
            return []
        return [f"the log's {logged} and the task's {metric.name} are taken to be comparable"]

    def planned(self, every: LogExperiments, facts: Mapping[str, Any]) -> AuditPlan:
        """What is to be run; files of commits go to the store."""
        options, store = self.options, Store(self.paths.store)
        clone = Clone(Commits(options.repo), self.task.mutable, store.put)
        choice = Choice(options.seeds, options.only or (), options.top)
        return build_audit_plan(every, facts, self.sha256, clone, choice)

    def run(self, plan: AuditPlan, gpus: int) -> dict[str, Any]:
        """Run the workflow to its end; the audit with all that was run."""
        wanted = {self.paths.rerun_settings: self.values, self.paths.rerun_plan: plan}
        for path, value in wanted.items():
            data = to_json(value)
            if not path.is_file() or path.read_bytes() != data:
                begin_workflow(self.paths, [path])
                write_bytes(path, data)
        code = snakemake(self.root, self.harness, self.values, [TARGET], gpus)
        if code:
            raise RerunsStoppedError(code)
        found: dict[str, Any] = read_json(self.paths.audit_json)
        return found


def told(plan: AuditPlan, seconds: float | None) -> list[str]:
    """What will be run, before it is; ``seconds`` is the budget of a run."""
    able = [change for change in plan.changes if not change.unable]
    seeds = sorted({change.seeds for change in able}) or [0]
    each = " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))
    lines = [
        f"to run again: {len(able)} of {plan.kept} kept changes, {each} seeds for each side; "
        f"{plan.runs} runs of {len(plan.wanted(1))} codes"
        + (f", about {plan.runs * seconds / 3600:.1f} hours of training" if seconds else "")
    ]
    for change in plan.changes:
        shown = f"line {change.line} ({one_line(change.commit)[:12]})"
        against = change.parent_line
        if change.unable:
            lines.append(f"{shown}: cannot be run: {change.unable}")
        else:
            with_ = f"line {against}" if against is not None else change.parent_commit[:12]
            lines.append(f"{shown} against {with_}, {change.seeds} seeds")
    return lines


def exit_code(reruns: Mapping[str, Any]) -> int:
    """0 all hold; 1 some do not or could not be run; 2 more seeds may decide the rest."""
    counts = reruns["counts"]
    if counts[KeptStanding.FAILS.value] or counts[KeptStanding.NOT_RUN.value]:
        return EXIT_SOME_FAIL
    return EXIT_UNDECIDED if counts[KeptStanding.UNDECIDED.value] else 0


class Source(Frozen):
    """Where the noise floor is from, and why it was centred where it was."""

    kind: str
    text: str
    stated: NoiseFloor | None = None
    prior: NoisePrior | None = None


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog=NAME,
        description="Say which kept changes of a finished session are real.",
        epilog="exit codes: 0; with --run 0 all hold, 1 some do not or cannot be run, 2 some are "
        "undecided; 64 usage, 65 data, 66 no input, 70 internal error, 74 output, 75 busy or "
        "stopped early",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add_log_options(parser)
    add("--repo", type=Path, help="git repository of the log's commits: lines and categories")
    noise = parser.add_mutually_exclusive_group()
    noise.add_argument("--noise-sd", type=float, help="standard deviation of one run, if known")
    noise.add_argument("--replicates", type=Path, help="file of metrics of runs of one code")
    add("--json", action="store_true", help="everything, for tools")
    add("--html", type=Path, help="write all of it as one page")
    add("--force", action="store_true", help="replace a file that is no report")
    again = parser.add_argument_group("running kept changes again, through the workflow")
    add = again.add_argument
    add("--run", action="store_true", help="run each kept commit of --repo and its incumbent")
    add("-n", "--dry-run", action="store_true", help="with --run: only say what would be run")
    add("--task", help="folder of the task that the commits are of (default: as configured)")
    add("--session", help="name of the re-runs' session (default: by task and log)")
    add("--seeds", type=int, help="runs of each side of each change (default: as advised)")
    add("--only", nargs="+", metavar="COMMIT", help="only these kept commits")
    add("--top", type=int, help="only the so many changes of the largest gain by the log")
    add("--gpus", type=int, default=1, help="runs side by side (default: 1)")
    add_options(parser)
    options = parser.parse_args(argv)
    _check(options)
    return options


_OF_RUNS = ("dry_run", "task", "session", "seeds", "only", "top", "config")


def _check(options: argparse.Namespace) -> None:
    """Refuse numbers and combinations without a meaning."""
    check_positive("--noise-sd", options.noise_sd)
    if options.force and options.html is None:
        raise UsageError("--force needs a file to replace: add --html FILE")
    if not options.run:
        given = [name for name in _OF_RUNS if getattr(options, name)]
        if given:
            raise UsageError(f"--{given[0].replace('_', '-')} is of re-runs: add --run")
        return
    if options.repo is None:
        raise UsageError("--run needs the repository whose commits are run: add --repo CLONE")
    for name, least in (("seeds", 2), ("top", 1), ("gpus", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UsageError(f"--{name}: expected at least {least}, found {value}")


def _run(options: argparse.Namespace) -> int:
    if options.html is not None:
        inputs = (options.results, options.replicates)
        may_write(options.html, options.force, inputs, "--html")
    every, facts, notes = _audited(options)
    code = 0
    if options.run:
        found = _again(options, every, facts, notes)
        if found is None:
            return 0
        facts, code = found
    if options.html is not None:
        from ratchet.report.audit_report import render_audit

        write_page(options.html, render_audit(facts))
    if options.json:
        print_json(facts)
    else:
        print("\n".join(lines(facts)))
        if options.html is not None:
            print(one_line(str(options.html)))
    tell_assumptions(NAME, every.table, notes, quiet=False)
    return code


def _again(
    options: argparse.Namespace, every: LogExperiments, facts: Facts, notes: list[str]
) -> tuple[Facts, int] | None:
    """The audit with its re-runs, and the exit code; ``None`` where it is only told of."""
    reruns = Reruns(options, options.results)
    notes += reruns.said(facts)
    plan = reruns.planned(every, {**facts, "assumptions": notes})
    for line in told(plan, reruns.seconds):
        tell(NAME, one_line_label(line, 600))
    if options.dry_run:
        return None
    if not plan.changes:
        return facts, 0
    found = reruns.run(plan, options.gpus)
    return found, exit_code(found["reruns"])


def _audited(options: argparse.Namespace) -> tuple[LogExperiments, Facts, list[str]]:
    """The experiments of the log, what it says of its kept changes, and what was assumed."""
    name = one_line(str(options.results))
    every, _ = read_log(options)
    table = every.table
    if every.first is None:
        raise DataError(f"{name}: line 1, column 1: expected a row with a metric, found none")
    settings, source, assumed = _noise(options, every)
    judged = [
        row.status is RowStatus.KEEP and place in every.incumbents
        for place, row in enumerate(every.rows)
    ]
    found = audit(every.values, every.kept, every.again, judged, settings, source.prior)
    notes = [*table.assumptions, *every.assumptions(), *assumed]
    facts = _facts(every, found, source, name, options.repo and Commits(options.repo))
    facts |= {"assumptions": notes, "problems": [str(p) for p in table.problems]}
    return every, facts, notes


def _noise(
    options: argparse.Namespace, every: LogExperiments
) -> tuple[Settings, Source, list[str]]:
    """The judge's settings, where its noise floor is from, and what was assumed."""
    rules = Rules("auto", options.noise_sd)
    settings, said = settings_for(every, len(every.rows), rules)
    if options.noise_sd is not None:
        text, _ = noise_source(every, settings, True, bool(said))
        floor = NoiseFloor(options.noise_sd, "as stated")
        return replace(settings, noise_nodes=STATED_NODES), Source("stated", text, floor), said
    if options.replicates is not None:
        values = _replicates(options.replicates)
        floor = noise_from_replicates(values)
        # The sd of ln s by its chi-square distribution, to first order.  Few replicates
        # agree too well by accident; the grid must reach the true floor.
        span = noise_span(1 / math.sqrt(2 * (len(values) - 1)))
        settings = replace(settings, noise_center=scale_from(values), noise_span=span)
        text = f"{floor.source} of --replicates (sd {floor.sd:.3g}), with what the log adds"
        source = Source("replicates", text, floor, by_replicates(floor.sd, len(values)))
        return settings, source, said
    text = "; ".join(noise_source(every, settings, False, bool(said)))
    kind = "re-runs" if every.further_runs else "assumed"
    return settings, Source(kind, text), said


def _replicates(path: Path) -> list[float]:
    """Numbers between spaces, commas and line ends; ``#`` starts a comment."""
    shown, found = one_line(str(path)), []
    text = read_file(path).decode("utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        for match in re.finditer(r"[^\s,;]+", line.partition("#")[0]):
            try:
                value = number_of(match[0])
            except ValueError:
                value = None
            if value is None:
                raise DataError(
                    f"{shown}: line {number}, column {match.start() + 1}: expected a metric of one "
                    f"run, found {one_line(match[0])!r:.40}"
                )
            found.append(value)
    if len(found) < 2:
        raise DataError(
            f"{shown}: line 1, column 1: expected at least 2 metrics of runs of one code, "
            f"found {len(found)}"
        )
    return found


def _facts(
    every: LogExperiments, found: Audit, source: Source, name: str, commits: Commits | None
) -> Facts:
    """Everything that is printed, by row of the log; gains are positive."""
    facts = to_json_values(found)
    return {
        "log": name,
        "metric": every.table.metric,
        "direction": every.table.direction.value,
        "experiments": len(every.rows),
        "rule": "P(better) given the whole log, later rows included",
        "noise": {
            **{key: facts.pop(f"noise_{key}") for key in ("sd", "low", "high")},
            "kind": source.kind,
            "source": source.text,
            "stated": None if source.stated is None else to_json_values(source.stated),
        },
        **facts,
        "changes": [_change(every, change, commits) for change in facts["changes"]],
        "together": [every.rows[place].line for place in found.together],
        "expected_false_keeps": found.expected_false,
    }


def _change(every: LogExperiments, change: Facts, commits: Commits | None) -> Facts:
    """A kept change with its row and, by a repository, what its commit changed."""
    place = change.pop("place")
    row = every.rows[place]
    facts = {
        "index": every.numbers[place],
        "line": row.line,
        "commit": row.commit,
        "value": row.value,
        "description": row.description,
        **change,
    }
    if commits is None:
        return facts
    old, new = (commits.sources(row.commit) if row.commit else None) or (None, None)
    facts["lines"] = None if old is None or new is None else net_code_lines(old, new)
    facts["files"] = None if new is None else len(new)
    facts["category"] = classify_change(row.description, old, new)
    return facts


main = make_command(NAME, _parse, _run, "please report it together with the log")
