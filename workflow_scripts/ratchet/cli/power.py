"""``ratchet power``: what can be seen at this noise, and what luck alone keeps.

    ratchet power --replicates 0.9979 0.9981 0.9975
    ratchet power --noise-sd 0.0004 --value 0.998 --effect 0.1% --plot power.svg
    ratchet power --session default --json

Exit codes: 0, or 64 usage, 65 data, 66 no input, 70 internal, 74 output.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ratchet import power
from ratchet.cli import command
from ratchet.codec import encode, replace
from ratchet.errors import DataError, InputMissingError, UsageError
from ratchet.files import read_record, write_bytes
from ratchet.paths import SessionPaths
from ratchet.power import NoiseFloor
from ratchet.records import RoundVerdict

NAME = "ratchet power"
SUFFIXES = (".svg", ".png", ".html")
MOST_EXPERIMENTS = 5000
"""Longer sessions are simulated for minutes, and are as long as nobody's."""

SMALLEST, LARGEST = 1e-100, 1e100
"""Noise floors beyond are mistakes, and their squares no numbers."""

LEAST_RELATIVE_NOISE = 1e-9
"""Where the simulations' metric would have no digits left for the noise."""

JUDGE_LEVEL = 0.9
"""Of the noise interval that the judge gives."""

UNSURE = 1.5
"""A noise floor whose interval reaches further than this factor gets a warning."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return command.run(NAME, lambda given: _run(_parse(given)), argv)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog=NAME,
        description="What replicates can show at a noise floor, and how many keeps are luck.",
        epilog="Give the noise floor by exactly one of the first four options.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--noise-sd", type=float, help="standard deviation of one run")
    source.add_argument("--replicates", type=float, nargs="+", help="metrics of runs of one code")
    source.add_argument("--results", type=Path, help="a results.tsv, whose noise is estimated")
    source.add_argument("--session", help="a session in results/")
    add("--value", type=float, help="the metric's size, for percentages (default: the input's)")
    add("--alpha", type=float, default=0.05, help="one-sided error level (default 0.05)")
    add("--power", type=float, default=0.8, help="probability to show an effect (default 0.8)")
    add(
        "--effect",
        action="append",
        help="0.002, 2sd or 0.1%%; how many seeds it needs (may be repeated)",
    )
    add("--experiments", type=int, default=100, help="length of the null session (default 100)")
    add("--sessions", type=int, help="simulated sessions per mode (default: some seconds' worth)")
    add("--seed", type=int, default=1, help="of the simulations (default 1)")
    add("--json", action="store_true", help="all numbers, for tools")
    add("--plot", type=Path, help=f"power curves to a file: {', '.join(SUFFIXES)}")
    options = parser.parse_args(argv)
    _check(options)
    return options


def _check(options: argparse.Namespace) -> None:
    """Refuse values outside their range before anything is computed."""
    number = options.noise_sd
    if number is not None and not (math.isfinite(number) and number > 0):
        raise UsageError(f"--noise-sd: expected a positive number, found {number}")
    if options.value is not None and not (math.isfinite(options.value) and options.value != 0):
        raise UsageError(f"--value: expected a finite number other than 0, found {options.value}")
    if not 0 < options.alpha < 0.5:
        raise UsageError(f"--alpha: expected a level between 0 and 0.5, found {options.alpha}")
    if not options.alpha < options.power < 1:
        raise UsageError(f"--power: expected one between alpha and 1, found {options.power}")
    if not 1 <= options.experiments <= MOST_EXPERIMENTS:
        raise UsageError(
            f"--experiments: expected 1 to {MOST_EXPERIMENTS}, found {options.experiments}"
        )
    if options.sessions is not None and options.sessions < 2:
        raise UsageError(f"--sessions: expected at least 2, found {options.sessions}")
    if options.seed < 0:
        raise UsageError(f"--seed: expected a number of at least 0, found {options.seed}")
    if options.plot is not None and options.plot.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--plot: expected a name in {', '.join(SUFFIXES)}, found {options.plot}")


def _run(options: argparse.Namespace) -> int:
    floor = _floor(options)
    if not SMALLEST <= floor.sd <= LARGEST:
        raise DataError(f"noise floor: expected {SMALLEST:g} to {LARGEST:g}, found {floor.sd:g}")
    if options.value is not None:
        floor = replace(floor, value=options.value)
    facts = _facts(options, floor, _effects(options.effect, floor))
    if options.plot is not None:
        _plot(options.plot, facts)
    if options.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        from ratchet.cli.power_text import lines

        print("\n".join(lines(facts)))
    for warning in facts["warnings"]:
        print(f"{NAME}: note: {warning}", file=sys.stderr)
    return 0


def _floor(options: argparse.Namespace) -> NoiseFloor:
    if options.noise_sd is not None:
        return NoiseFloor(options.noise_sd, "as stated")
    if options.replicates is not None:
        return power.noise_from_replicates(options.replicates)
    return _of_session(options.session) if options.session else _of_log(options.results)


def _of_session(name: str) -> NoiseFloor:
    """The noise floor that the latest verdict of a session rests on."""
    paths, rounds = SessionPaths(name), 0
    while paths.round(rounds + 1).verdict.exists():
        rounds += 1
    for number in range(rounds, 0, -1):
        found = read_record(RoundVerdict, paths.round(number).verdict)
        if found.noise_sd:
            source = f"of session {name} after round {number}"
            interval = (found.noise_low, found.noise_high)
            return NoiseFloor(found.noise_sd, source, *interval, JUDGE_LEVEL, found.incumbent_mean)
    raise InputMissingError(
        f"{paths.rounds}: expected a verdict with a noise floor, found none; run the session "
        f"first: snakemake --cores 1 --config session={name}"
    )


def _of_log(path: Path) -> NoiseFloor:
    """The noise floor that ``autojudge --all`` finds."""
    from ratchet.cli import judging
    from ratchet.cli.session import experiments
    from ratchet.dialects import read_table

    every = experiments(read_table(command.read(path), str(path)))
    settings, _ = judging.settings_for(every, len(every.rows), judging.Rules())
    judge = judging.replayed(every, settings).judge
    low, high = judge.noise_interval(JUDGE_LEVEL)
    source = f"estimated from {len(every.rows)} experiments of {path.name}"
    value = every.table.direction.sign * judge.incumbent_mean
    return NoiseFloor(judge.noise_sd, source, low, high, JUDGE_LEVEL, value)


def _effects(texts: Sequence[str] | None, floor: NoiseFloor) -> list[float]:
    """Effects in noise sds; raises :class:`UsageError` for what is no effect."""
    if not texts:
        return list(power.EFFECTS)
    found = []
    for text in texts:
        unit = next((u for u in ("sd", "%") if text.endswith(u)), "")
        try:
            number = float(text.removesuffix(unit))
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number > 0):
            raise UsageError(f"--effect: expected such as 0.002, 2sd or 0.1%, found {text!r:.40}")
        if unit == "%" and not floor.value:
            raise UsageError(f"--effect {text}: a share of what? add --value")
        in_metric = {"sd": floor.sd, "": 1.0, "%": abs(floor.value or 0.0) / 100}[unit]
        found.append(number * in_metric / floor.sd)
    return found


def _facts(options: argparse.Namespace, floor: NoiseFloor, effects: list[float]) -> dict[str, Any]:
    """Everything that is printed, as values for JSON."""
    alpha, wanted = options.alpha, options.power
    size = abs(floor.value) if floor.value else None
    relative = (
        power.RELATIVE_NOISE
        if size is None
        else min(max(floor.sd / size, LEAST_RELATIVE_NOISE), 1.0)
    )

    def shown(sds: float | None) -> dict[str, float | None]:
        gain = None if sds is None else sds * floor.sd
        percent = None if gain is None or size is None else 100 * gain / size
        return {"sds": sds, "metric": gain, "percent": percent}

    kinds = {"known": True, "estimated": False}
    return {
        "noise": encode(floor),
        "alpha": alpha,
        "power": wanted,
        "detectable": [
            {"seeds": n}
            | {k: shown(power.detectable(n, alpha, wanted, known)) for k, known in kinds.items()}
            for n in power.SEEDS
        ],
        "seeds_needed": [
            shown(effect)
            | {k: power.seeds_needed(effect, alpha, wanted, known) for k, known in kinds.items()}
            for effect in effects
        ],
        "experiments": options.experiments,
        "false_keeps": [
            encode(rule)
            for rule in power.false_keeps(
                options.experiments, options.seed, relative, options.sessions
            )
        ],
        "warnings": _warnings(floor),
    }


def _warnings(floor: NoiseFloor) -> list[str]:
    if floor.low is None or floor.high is None or floor.high / floor.sd <= UNSURE:
        return []
    low, high = floor.low / floor.sd, floor.high / floor.sd
    return [
        f"the noise floor {floor.source} is known only within a factor of {low:.2g} to {high:.2g} "
        f"({100 * floor.level:.0f} % interval), and so is everything in the metric's unit"
    ]


def _plot(path: Path, facts: dict[str, Any]) -> None:
    from ratchet.cli import power_figure

    data = power_figure.drawn(facts, path.suffix.lower())
    try:
        write_bytes(path, data)
    except OSError as error:
        raise command.OutputError(f"{path}: cannot be written: {error.strerror or error}") from None


if __name__ == "__main__":
    sys.exit(main())
