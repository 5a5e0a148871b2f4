"""ratchet audit: which kept changes of a finished session are real.

    ratchet audit --results results.tsv
    ratchet audit --results results.tsv --noise-sd 0.0005 --repo clone --json
    ratchet audit --results results.tsv --html audit.html
    ratchet audit --results results.tsv --repo clone --task tasks/bytelm --run

Every change is judged by the whole log, by what came after it too; with --run
also by fresh runs of it and of its incumbent on this machine.  The log is never
written.

Exit codes: 0; with --run 0 all hold, 1 some do not or cannot be run, 2 some are
undecided; 64 usage, 65 data, 66 no input, 70 internal error, 74 output, 75 busy
or stopped early.
"""

import argparse
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.errors import DataError, UsageError
from ratchet.base.git import Commits
from ratchet.base.io import read_file
from ratchet.base.structs import Frozen, replace, to_json_values
from ratchet.base.terminal import align_columns, cut_line, signs_of_life, wrap_text
from ratchet.base.text import decimals_for, one_line, one_line_label, plural
from ratchet.cli.main import (
    CommandParser,
    add_log_options,
    check_positive,
    make_command,
    may_write,
    print_json,
    read_log,
    tell,
    tell_assumptions,
    write_output,
)
from ratchet.cli.sessions import add_options
from ratchet.judge.settings import Settings, scale_from
from ratchet.logs.audit import (
    CHANCE,
    CREDIBLE,
    GIVEN_LOG,
    MOST_SEEDS,
    OVERTURNED,
    TESTS,
    Audit,
    audit,
    by_replicates,
)
from ratchet.logs.experiments import LogExperiments
from ratchet.logs.judging import (
    Rules,
    evidence_values,
    noise_source,
    noise_span,
    repeat_notes,
    repeating_rows,
    settings_for,
)
from ratchet.logs.smoothing import LEVEL, NoisePrior
from ratchet.logs.words import number_of
from ratchet.simulation.power import NoiseFloor, different_runs, noise_from_replicates
from ratchet.steering.categories import classify_change
from ratchet.steering.code_diff import net_code_lines

Facts = dict[str, Any]
NAME = "ratchet audit"
_INTERVAL = f"{100 * LEVEL:.0f} %"

NOTHING_KEPT = "nothing was kept after the baseline"

STATED_NODES = 3
"""Noise nodes for a stated noise floor; they are 5 % apart, and more say the same."""


def lines(facts: Facts) -> Iterator[str]:
    """Noise floor, a line for each kept change, and what holds of them."""
    noise, changes = facts["noise"], facts["changes"]
    places = decimals_for(noise["sd"], None) + 1
    head = f"{facts['experiments']} experiments of {one_line_label(facts['metric'], 30)}"
    yield f"{head}, {plural(len(changes), 'kept change')} after the baseline"
    low, high = (f"{noise[end]:.{places}f}" for end in ("low", "high"))
    yield f"noise floor: ±{noise['sd']:.{places}f} ({_INTERVAL} interval {low} to {high})"
    yield from wrapped(noise["source"], "  ")
    yield ""
    if not changes:
        what = "no kept change differs from its incumbent" if facts["repeats"] else NOTHING_KEPT
        yield f"{what}, so there is nothing to audit"
        return
    yield from _table(changes, places - 1)
    for paragraphs in (_summary(facts, places), _runs_to_make(changes)):
        yield ""
        for text in paragraphs:
            yield from wrapped(text)
    if facts.get("reruns"):
        yield ""
        from ratchet.cli.audit_rerun import rerun_lines

        numbers = {change["line"]: change["index"] for change in changes}
        yield from rerun_lines(facts["reruns"], places, numbers)


def _table(changes: list[Facts], places: int) -> Iterator[str]:
    with_lines = "lines" in changes[0]
    code = ["code"] if with_lines else []
    rows = [["#", "printed", "P", "P|log", "gain", "from", "to", "seeds", *code, "change"]]
    for change in changes:
        step, *gain = (f"{change[key]:+.{places}f}" for key in ("step", "gain", "low", "high"))
        seeds = f">{MOST_SEEDS}" if change["seeds"] is None else str(change["seeds"] or "-")
        sure = (f"{change[key]:.2f}" for key in ("confidence", "given_log"))
        row = [str(change["index"]), step, *sure, *gain, seeds]
        if with_lines:
            row.append("?" if change["lines"] is None else f"{change['lines']:+d}")
        rows.append([*row, one_line_label(change["description"])])
    yield from aligned(rows, len(rows[0]) - 1)


def _summary(facts: Facts, places: int) -> Iterator[str]:
    count, held = len(facts["changes"]), facts["surviving"]
    tests = ", ".join(f"{held[name]} at {TESTS[name]:g} ({name})" for name in TESTS)
    yield f"one by one: of {count} kept changes have a {GIVEN_LOG} of at least: {tests}"
    yield (
        f"expected: {facts['expected_true']:.1f} are better ({_INTERVAL} interval "
        f"{facts['least_true']} to {facts['most_true']}), {facts['expected_false_keeps']:.1f} "
        "are false keeps"
    )
    surest = facts["together"]
    together = f"not even the surest one with P {CREDIBLE:g}"
    if surest:
        named = ", ".join(str(c["index"]) for c in facts["changes"] if c["line"] in surest)
        sure = f"P {facts['together_hold']:.3f}"
        together = f"the surest {len(surest)} with {sure} (experiment {named})"
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
        listed = ", ".join(f"{c['index']} ({c['seeds']})" for c in chosen)
        yield f"worth a re-run, with seeds for each side: experiment {listed}"
    over = [str(c["index"]) for c in changes if c["given_log"] < OVERTURNED]
    if over:
        yield f"overturned by the rest of the log: experiment {', '.join(over)}"
    beyond = [str(c["index"]) for c in changes if c["seeds"] is None]
    if beyond:
        yield f"too small for {MOST_SEEDS} seeds to decide: experiment {', '.join(beyond)}"
    yield (
        "#: number of the experiment, row 0 of the log is the baseline; P: P(better) by the rows "
        f"up to the change, as autojudge has it; P|log: {GIVEN_LOG}, by the whole log; from, to: "
        f"{_INTERVAL} interval of the gain"
    )
    yield (
        "seeds: the smallest n for which, with n runs of the change and n of its parent in turn "
        "on one machine (their difference is normal with variance 2 s^2 / n about the true gain), "
        f"it ends at {CREDIBLE:g} or more, or below {OVERTURNED:g}, with probability "
        f"{CHANCE:g}"
    )


def aligned(rows: list[list[str]], right: int) -> Iterator[str]:
    """Lines of a table, the first columns to the right; a long line is cut."""
    yield from map(cut_line, align_columns(rows, range(right, len(rows[0])), " "))


def wrapped(text: str, indent: str = "") -> Iterator[str]:
    yield from wrap_text(text, first=indent, rest=indent or "  ")


class Source(Frozen):
    """Source of the noise floor: its kind, words about it, and what was given."""

    kind: str
    text: str
    stated: NoiseFloor | None = None
    prior: NoisePrior | None = None


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
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
    with signs_of_life(NAME, "judging every change by the whole log"):
        every, facts, notes = audited(options)
    code = 0
    if options.run:
        found = _again(options, every, facts, notes)
        if found is None:
            return 0
        facts, code = found
    if options.html is not None:
        from ratchet.report.audit_report import render_audit

        with signs_of_life(NAME, "drawing the page"):
            write_output(options.html, render_audit(facts))
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
    from ratchet.cli.audit_rerun import Reruns, exit_code, told  # the workflow comes with it

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


def audited(options: argparse.Namespace) -> tuple[LogExperiments, Facts, list[str]]:
    """The experiments of the log, what it says of its kept changes, and what was assumed."""
    name = one_line(str(options.results))
    every, _ = read_log(options)
    table = every.table
    if every.first is None:
        raise DataError(f"{name}: line 1, column 1: expected a row with a metric, found none")
    settings, source = _noise(options, every)
    rows = evidence_values(every), every.kept, every.again, every.kept_changes
    found = audit(*rows, settings, source.prior, every.undecided)
    notes = [*table.assumptions, *every.assumptions(), *repeat_notes(every)]
    commits = options.repo and Commits(options.repo, {options.results.name})
    facts = _facts(every, found, source, name, commits)
    kept = zip(every.rows, every.kept_changes, repeating_rows(every), strict=True)
    facts["repeats"] = [row.line for row, keep, repeats in kept if keep and repeats]
    facts |= {"assumptions": notes, "problems": [str(p) for p in table.problems]}
    return every, facts, notes


def _noise(options: argparse.Namespace, every: LogExperiments) -> tuple[Settings, Source]:
    """The judge's settings, and where its noise floor is from."""
    rules = Rules("auto", options.noise_sd)
    settings = settings_for(every, len(every.rows), rules)
    if options.noise_sd is not None:
        text, _ = noise_source(every, settings, True)
        floor = NoiseFloor(options.noise_sd, "as stated")
        return replace(settings, noise_nodes=STATED_NODES), Source("stated", text, floor)
    if options.replicates is not None:
        values = _replicates(options.replicates)
        floor = noise_from_replicates(values)
        values = different_runs(values)
        # The sd of ln s by its chi-square distribution, to first order.  Few replicates
        # agree too well by accident; the grid must reach the true floor.
        span = noise_span(1 / math.sqrt(2 * (len(values) - 1)))
        settings = settings.around(scale_from(values), span)
        text = f"{floor.source} of --replicates (sd {floor.sd:.3g}), with what the log adds"
        source = Source("replicates", text, floor, by_replicates(floor.sd, len(values)))
        return settings, source
    text = "; ".join(noise_source(every, settings, False))
    kind = "re-runs" if text.startswith("estimated") else "assumed"
    return settings, Source(kind, text)


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
    """All facts that are printed, by row of the log; gains are positive."""
    facts = to_json_values(found)
    return {
        "log": name,
        "metric": every.table.metric,
        "direction": every.table.direction.value,
        "experiments": every.count,
        "rule": f"given_log: {GIVEN_LOG}, later rows included; confidence: P(better) by autojudge",
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
