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
import json
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ratchet.audit import audit, by_replicates
from ratchet.cli import command
from ratchet.cli.session import Experiments
from ratchet.cli.settings import add_options
from ratchet.dialects import RowStatus
from ratchet.dialects.words import number_of
from ratchet.errors import DataError, UsageError
from ratchet.judge import Settings, scale_from
from ratchet.logs_analysis import further_runs, noise_source
from ratchet.power import NoiseFloor, noise_from_replicates
from ratchet.report.text import label
from ratchet.results_tsv import one_line
from ratchet.smoothing import NoisePrior

NAME = "ratchet audit"

STATED_NODES = 3
"""Noise nodes for a stated noise floor; they are 5 % apart, and more say the same."""

REPLICATES_SPAN = 4.0
"""Half-width of the noise grid, in sds of what replicates leave open."""

LEAST_SPAN, MOST_SPAN = 0.05, 2.4
"""In ln: as for a stated noise floor, and as without any."""


@dataclass(frozen=True)
class Source:
    """Where the noise floor is from, and why it was centred where it was."""

    kind: str
    text: str
    stated: NoiseFloor | None = None
    prior: NoisePrior | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    hint = "please report it together with the log"
    return command.run(NAME, lambda given: _run(_parse(given)), argv, hint)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog=NAME,
        description="Say which kept changes of a finished session are real.",
        epilog="exit codes: 0; with --run 0 all hold, 1 some do not or cannot be run, 2 some are "
        "undecided; 64 usage, 65 data, 66 no input, 70 internal error, 74 output, 75 busy or "
        "stopped early",
        allow_abbrev=False,
    )
    add = parser.add_argument
    command.add_log_options(parser)
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
    command.check_positive("--noise-sd", options.noise_sd)
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
        command.may_write(options.html, options.force, inputs, "--html")
    every, facts, notes = _audited(options)
    code = 0
    if options.run:
        found = _again(options, every, facts, notes)
        if found is None:
            return 0
        facts, code = found
    if options.html is not None:
        from ratchet.report import audited

        command.write_page(options.html, audited.render(facts))
    if options.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        from ratchet.cli.audit_text import lines

        print("\n".join(lines(facts)))
        if options.html is not None:
            print(one_line(str(options.html)))
    command.tell(NAME, every.table, notes, quiet=False)
    return code


def _again(
    options: argparse.Namespace, every: Experiments, facts: dict[str, Any], notes: list[str]
) -> tuple[dict[str, Any], int] | None:
    """The audit with its re-runs, and the exit code; ``None`` where it is only told of."""
    from ratchet.cli import audit_run

    reruns = audit_run.Reruns(options, options.results)
    notes += reruns.said(facts)
    plan = reruns.planned(every, {**facts, "assumptions": notes})
    for line in audit_run.told(plan, reruns.seconds):
        print(f"{NAME}: {label(line, 600)}", file=sys.stderr)
    if options.dry_run:
        return None
    if not plan.changes:
        return facts, 0
    found = reruns.run(plan, options.gpus)
    return found, audit_run.exit_code(found["reruns"])


def _audited(options: argparse.Namespace) -> tuple[Experiments, dict[str, Any], list[str]]:
    """The experiments of the log, what it says of its kept changes, and what was assumed."""
    name = one_line(str(options.results))
    every, _ = command.read_log(options)
    table = every.table
    if every.first is None:
        raise DataError(f"{name}: line 1, column 1: expected a row with a metric, found none")
    settings, source, assumed = _noise(options, every)
    judged = [
        kept and row.status is RowStatus.KEEP and value is not None and place != every.first
        for place, (kept, row, value) in enumerate(
            zip(every.kept, every.rows, every.values, strict=True)
        )
    ]
    found = audit(every.values, every.kept, every.again, judged, settings, source.prior)
    notes = [*table.assumptions, *every.assumptions(), *assumed]
    facts = _facts(every, asdict(found), source, name)
    facts["expected_false_keeps"] = found.expected_false
    _add_edits(facts["changes"], options.repo)
    facts |= {"assumptions": notes, "problems": [str(p) for p in table.problems]}
    return every, facts, notes


def _noise(options: argparse.Namespace, every: Experiments) -> tuple[Settings, Source, list[str]]:
    """The judge's settings, where its noise floor is from, and what was assumed."""
    from ratchet import logs_analysis

    rules = logs_analysis.Rules("auto", options.noise_sd)
    settings, said = logs_analysis.settings_for(every, len(every.rows), rules)
    if options.noise_sd is not None:
        text, _ = noise_source(every, settings, True, bool(said))
        floor = NoiseFloor(options.noise_sd, "as stated")
        return replace(settings, noise_nodes=STATED_NODES), Source("stated", text, floor), said
    if options.replicates is not None:
        values = _replicates(options.replicates)
        floor = noise_from_replicates(values)
        # The sd of ln s by its chi-square distribution, to first order.
        open_by = 1 / math.sqrt(2 * (len(values) - 1))
        span = min(max(REPLICATES_SPAN * open_by, LEAST_SPAN), MOST_SPAN)
        # Few replicates agree too well by accident; the grid must reach the true floor.
        settings = replace(settings, noise_center=scale_from(values), noise_span=span)
        text = f"{floor.source} of --replicates (sd {floor.sd:.3g}), with what the log adds"
        source = Source("replicates", text, floor, by_replicates(floor.sd, len(values)))
        return settings, source, said
    text = "; ".join(noise_source(every, settings, False, bool(said)))
    kind = "re-runs" if further_runs(every) else "assumed"
    return settings, Source(kind, text), said


def _replicates(path: Path) -> list[float]:
    """Numbers between spaces, commas and line ends; ``#`` starts a comment."""
    shown, found = one_line(str(path)), []
    text = command.read(path).decode("utf-8", errors="replace")
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


def _facts(every: Experiments, found: dict[str, Any], source: Source, name: str) -> dict[str, Any]:
    """Everything that is printed, by row of the log; gains are positive."""
    found["changes"] = [_of_row(every, change) for change in found["changes"]]
    found["together"] = [every.rows[place].line for place in found["together"]]
    noise = {
        "sd": found.pop("noise_sd"),
        "low": found.pop("noise_low"),
        "high": found.pop("noise_high"),
        "kind": source.kind,
        "source": source.text,
        "stated": None if source.stated is None else asdict(source.stated),
    }
    return {
        "log": name,
        "metric": every.table.metric,
        "direction": every.table.direction.value,
        "experiments": len(every.rows),
        "rule": "P(better) given the whole log, later rows included",
        "noise": noise,
        **found,
    }


def _of_row(every: Experiments, change: dict[str, Any]) -> dict[str, Any]:
    place = change.pop("place")
    row = every.rows[place]
    return {
        "index": every.numbers[place],
        "line": row.line,
        "commit": row.commit,
        "value": row.value,
        "description": row.description,
        **change,
    }


def _add_edits(changes: list[dict[str, Any]], repo: Path | None) -> None:
    """What each commit changed: code lines, files, category; ``None`` if unknown."""
    if repo is None:
        return
    from ratchet.categories import classify
    from ratchet.code_lines import net
    from ratchet.commits import Commits

    commits = Commits(repo)
    for change in changes:
        texts = commits.sources(change["commit"]) if change["commit"] else None
        old, new = texts if texts is not None else (None, None)
        change["lines"] = None if old is None or new is None else net(old, new)
        change["files"] = None if new is None else len(new)
        change["category"] = classify(change["description"], old, new)


if __name__ == "__main__":
    sys.exit(main())
