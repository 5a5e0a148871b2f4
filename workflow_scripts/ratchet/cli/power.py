"""ratchet power: what can be seen at this noise, and what luck alone keeps.

    ratchet power --replicates 0.9979 0.9981 0.9975
    ratchet power --noise-sd 0.0004 --value 0.998 --effect 0.1% --plot power.svg
    ratchet power --session default --json

The noise floor is that of --noise-sd, --replicates, --session or --results.

Exit codes: 0, or 64 usage, 65 data, 66 no input, 70 internal error, 74 output.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ratchet.base.colours import LIGHT
from ratchet.base.errors import DataError, InputMissingError, UsageError
from ratchet.base.io import read_record
from ratchet.base.structs import replace, to_json_values
from ratchet.base.terminal import WIDTH, cut_line, signs_of_life
from ratchet.base.text import one_line, plural
from ratchet.cli.main import (
    CommandParser,
    add_log_options,
    check_positive,
    make_command,
    print_json,
    read_log,
    tell,
    write_output,
)
from ratchet.records.history import NO_SEED_EFFECT, SeedEffect, seed_effect
from ratchet.records.paths import SessionPaths
from ratchet.records.records import RoundVerdict
from ratchet.report.figure_style import Frame, Row, Spec, base_spec, mark_layer
from ratchet.simulation.power import (
    EFFECTS,
    RELATIVE_NOISE,
    SEEDS,
    NoiseFloor,
    detectable,
    false_keeps,
    noise_from_replicates,
    power_of,
    seeds_needed,
)

Facts = dict[str, Any]


def lines(facts: Facts) -> Iterator[str]:
    """The noise floor and three tables."""
    noise = facts["noise"]
    interval = ""
    if noise["low"] is not None and noise["high"] is not None:
        level = f"{100 * noise['level']:.0f} %"
        interval = f" ({level} interval {noise['low']:.3g} to {noise['high']:.3g})"
    yield f"noise floor: ±{noise['sd']:.3g}{interval}"
    yield f"             {cut_line(one_line(noise['source']), WIDTH - 13)}"
    yield ""
    yield from _detectable(facts)
    yield ""
    yield from _needed(facts)
    yield ""
    yield from _false_keeps(facts)


def _detectable(facts: Facts) -> Iterator[str]:
    yield (
        f"smallest effect that is shown with probability {facts['power']:g} (one-sided level "
        f"{facts['alpha']:g})"
    )
    yield f"{'':>8}{'noise floor known (normal)':>36}{'estimated from these runs (t)':>36}"
    head = f"{'sds':>12}{'metric':>12}{'%':>12}"
    yield f"{'seeds':>8}{head}{head}"
    for row in facts["detectable"]:
        yield f"{row['seeds']:>8}{_three(row['known'])}{_three(row['estimated'])}"


def _needed(facts: Facts) -> Iterator[str]:
    yield "seeds per side that an effect needs, at the same level and probability"
    yield f"{'':>8}{'sds':>12}{'metric':>12}{'%':>12}{'known':>18}{'estimated':>18}"
    for row in facts["seeds_needed"]:
        known, estimated = (
            "over a million" if row[kind] is None else str(row[kind])
            for kind in ("known", "estimated")
        )
        yield f"{'':>8}{_three(row)}{known:>18}{estimated:>18}"


def _false_keeps(facts: Facts) -> Iterator[str]:
    count = facts["experiments"]
    yield f"keeps in {plural(count, 'experiment')} of which none changes anything"
    yield f"{'rule':<50}{'false keeps':>13}{'runs':>6}  how"
    for row in facts["false_keeps"]:
        keeps = f"{row['keeps']:.2f}"
        if row["how"] == "bound":
            keeps = f"at most {row['keeps']:g}"
        elif row["error"] is not None:
            keeps += f" ±{row['error']:.2f}"
        runs = "-" if row["runs"] is None else f"{row['runs']:.0f}"
        yield f"{row['rule']:<50}{keeps:>13}{runs:>6}  {row['how']}"


def _three(row: Facts) -> str:
    """An effect in noise sds, in the metric's unit and in percent."""
    sds, metric, percent = (row[key] for key in ("sds", "metric", "percent"))
    digits = "-" if sds is None else f"{sds:.2f}" if sds >= 0.1 else f"{sds:.2g}"
    shown = (digits, _short(metric), _short(percent))
    return "".join(f"{text:>12}" for text in shown)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


FRAME = Frame(width=640, height=360, left=64, right=130, top=92, bottom=48)
LARGEST_SHOWN = 5.0
"""Effect at the right edge, in noise sds; one seed shows it almost surely."""

STEP = 0.05
CURVES = ((1, "discard"), (2, "crash"), (3, "champion"), (5, "baseline"), (10, "keep"))
"""Seeds per side, and the colour's role."""

LABEL_POWER = 0.5
"""Power at which the curves are furthest apart, and so have room for a label."""

KNOWN, ESTIMATED = "noise floor known", "estimated from these runs"
LABEL_ORDER = [f"{n} seed{'s' * (n != 1)}" for n, _ in CURVES]


def curves(facts: Facts) -> Spec:
    """The figure as a Vega-Lite specification."""
    alpha = facts["alpha"]
    axes = {
        "x": _axis("x", "true effect, in noise sds", LARGEST_SHOWN, range(6), "d", grid=False),
        "y": _axis("y", "power", 1, (0, 0.2, 0.4, 0.6, 0.8, 1), ".1f"),
    }
    colour = {
        "field": "seeds",
        "type": "nominal",
        "scale": {"domain": LABEL_ORDER, "range": [LIGHT[role] for _, role in CURVES]},
        "legend": {"title": "per side", "symbolType": "stroke", "symbolStrokeWidth": 2.4},
    }
    above = {"orient": "none", "direction": "horizontal", "legendX": 0, "legendY": -22}
    dash = {
        "field": "noise",
        "type": "nominal",
        "scale": {"domain": [KNOWN, ESTIMATED], "range": [[1, 0], [4, 3]]},
        "legend": {"title": None, "symbolSize": 300, "labelLimit": 240, **above},
    }
    # Numbers on the curves, so that they can be told apart without colours.
    labels: list[Row] = [
        {"x": detectable(n, alpha, LABEL_POWER, known=True), "y": LABEL_POWER, "text": f"{n}"}
        | {"seeds": label}
        for (n, _), label in zip(CURVES, LABEL_ORDER, strict=True)
    ]
    named = {**axes, "text": {"field": "text", "type": "nominal"}}
    number = {"type": "text", "fontSize": 13, "fontWeight": "bold"}
    halo = {"stroke": LIGHT["surface"], "strokeWidth": 6, "strokeJoin": "round"}
    wanted = [{"x": 0.0, "x2": LARGEST_SHOWN, "y": facts["power"]}]
    rule = {"type": "rule", "color": LIGHT["muted"], "strokeDash": [2, 3]}
    return {
        **base_spec(FRAME),
        "title": {
            "text": "Probability to show an improvement",
            "subtitle": f"one-sided level {alpha:g}; 1 noise sd is {facts['noise']['sd']:.3g}",
            "anchor": "start",
            "frame": "group",
            "offset": 30,
            "fontSize": 15,
            "color": LIGHT["ink"],
            "subtitleColor": LIGHT["muted"],
        },
        "layer": [
            mark_layer(wanted, rule, {**axes, "x2": {"field": "x2"}}),
            mark_layer(
                _rows(alpha),
                {"type": "line", "strokeWidth": 2},
                {**axes, "color": colour, "strokeDash": dash},
            ),
            mark_layer(labels, {**number, **halo, "color": LIGHT["surface"]}, named),
            mark_layer(labels, number, {**named, "color": colour}),
        ],
    }


def _axis(
    field: str, title: str, largest: float, values: Sequence[float], form: str, **more: bool
) -> Spec:
    """A quantitative channel from 0."""
    return {
        "field": field,
        "type": "quantitative",
        "scale": {"domain": [0, largest], "nice": False},
        "axis": {"title": title, "values": list(values), "format": form, **more},
    }


def _rows(alpha: float) -> list[Row]:
    rows = []
    for (seeds, _), label in zip(CURVES, LABEL_ORDER, strict=True):
        for name, known in ((KNOWN, True), (ESTIMATED, False)):
            for step in range(round(LARGEST_SHOWN / STEP) + 1):
                chance = power_of(step * STEP, seeds, alpha, known)
                if chance is not None:
                    at = {"x": round(step * STEP, 4), "y": round(chance, 6)}
                    rows.append({**at, "seeds": label, "noise": name})
    return rows


def drawn(facts: dict[str, Any], suffix: str) -> bytes:
    """The figure as a file of this kind; a page holds the tables as well."""
    from ratchet.report.render import figure_png, figure_svg, fill_page, themed_svg  # slow to load

    spec = curves(facts)
    if suffix == ".png":
        return figure_png(spec)
    svg = figure_svg(spec)
    if suffix == ".svg":
        return svg.encode()
    text = "\n".join([*lines(facts), *facts["warnings"]])
    return fill_page("power.html", 6, {}, (), svg=Markup(themed_svg(svg)), text=text).encode()


NAME = "ratchet power"
SUFFIXES = (".svg", ".png", ".html")
MOST_EXPERIMENTS = 5000
"""Longer sessions are simulated for minutes, and are as long as nobody's."""

SMALLEST, LARGEST = 1e-100, 1e100
"""Noise floors beyond are mistakes, and their squares no numbers."""

LEAST_RELATIVE_NOISE = 1e-9
"""Smallest relative noise; below, the simulated metric has no digits left for it."""

JUDGE_LEVEL = 0.9
"""Probability of the noise interval that the judge gives."""

UNSURE = 1.5
"""A noise floor whose interval reaches further than this factor gets a warning."""


def parse_options(argv: Sequence[str]) -> argparse.Namespace:
    indent = " " * len(f"usage: {NAME} (")
    usage = (
        f"{NAME} (--noise-sd SD | --replicates X X [X ...] |\n{indent}"
        "[--session] NAME | --results FILE) [options]"
    )
    parser = CommandParser(NAME, __doc__, usage=usage)
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--noise-sd", type=float, metavar="SD", help="standard deviation of one run"
    )
    runs = "metrics of runs of one code"
    source.add_argument("--replicates", type=float, metavar="X", nargs="+", help=runs)
    source.add_argument("--session", metavar="NAME", help="a session in results/")
    source.add_argument("name", nargs="?", metavar="SESSION", help="the same")
    add_log_options(parser, None, source)
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
    options.session = options.session or (options.name or "").removeprefix("session=")
    _check(options)
    return options


def _check(options: argparse.Namespace) -> None:
    """Refuse values outside their range before anything is computed."""
    check_positive("--noise-sd", options.noise_sd)
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


def power_facts(options: argparse.Namespace, tell: Callable[[str], None] = lambda _: None) -> Facts:
    """All facts that are printed, as values for JSON; ``tell`` hears which rule is simulated."""
    floor = _floor(options)
    if not SMALLEST <= floor.sd <= LARGEST:
        raise DataError(f"noise floor: expected {SMALLEST:g} to {LARGEST:g}, found {floor.sd:g}")
    if options.value is not None:
        floor = replace(floor, value=options.value)
    return _facts(options, floor, _effects(options.effect, floor), tell)


def _run(options: argparse.Namespace) -> int:
    with signs_of_life(NAME, "simulating") as say:
        facts = power_facts(options, lambda rule: say(f"simulating {rule}"))
    if options.plot is not None:
        write_output(options.plot, drawn(facts, options.plot.suffix.lower()))
    if options.json:
        print_json(facts)
    else:
        print("\n".join(lines(facts)))
    for warning in facts["warnings"]:
        tell(NAME, f"note: {warning}")
    return 0


def _floor(options: argparse.Namespace) -> NoiseFloor:
    if options.noise_sd is not None:
        return NoiseFloor(options.noise_sd, "as stated")
    if options.replicates is not None:
        return noise_from_replicates(options.replicates)
    return _of_session(options.session) if options.session else _of_log(options)


def _of_session(name: str) -> NoiseFloor:
    """The noise floor that the latest verdict of a session rests on."""
    paths, rounds = SessionPaths(name), 0
    while paths.round(rounds + 1).verdict.exists():
        rounds += 1
    for number in range(rounds, 0, -1):
        verdict = read_record(RoundVerdict, paths.round(number).verdict)
        if verdict.noise_sd:
            source = f"of session {name} after round {number}"
            interval = (verdict.noise_low, verdict.noise_high)
            return NoiseFloor(
                verdict.noise_sd, source, *interval, JUDGE_LEVEL, verdict.incumbent_mean
            )
    from ratchet.cli.sessions import harness_folder  # the rest needs no session
    from ratchet.config import workflow_command

    run = workflow_command(paths, harness=harness_folder(paths.root))
    raise InputMissingError(
        f"{paths.rounds}: expected a verdict with a noise floor, found none; state it with "
        f"--noise-sd, or run the session first: {run}"
    )


def _of_log(options: argparse.Namespace) -> NoiseFloor:
    """The noise floor that ``autojudge --all`` finds."""
    from ratchet.logs.judging import Rules, replay_rows, settings_for

    every, _ = read_log(options)
    if seed_effect(every.replicates) is SeedEffect.NONE:
        raise DataError(
            f"{one_line(str(options.results))}: {NO_SEED_EFFECT}, as all its re-runs are equal, so "
            "it tells no noise floor; state it with --noise-sd"
        )
    settings = settings_for(every, len(every.rows), Rules())
    judge = replay_rows(every, settings).judge
    low, high = judge.noise_interval(JUDGE_LEVEL)
    source = f"estimated from {len(every.rows)} experiments of {options.results.name}"
    value = every.table.direction.sign * judge.incumbent_mean
    return NoiseFloor(judge.noise_sd, source, low, high, JUDGE_LEVEL, value)


def _effects(texts: Sequence[str] | None, floor: NoiseFloor) -> list[float]:
    """Effects in noise sds; raises :class:`UsageError` for what is no effect."""
    if not texts:
        return list(EFFECTS)
    effects = []
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
        effects.append(number * in_metric / floor.sd)
    return effects


def _facts(
    options: argparse.Namespace,
    floor: NoiseFloor,
    effects: list[float],
    tell: Callable[[str], None],
) -> Facts:
    alpha, wanted = options.alpha, options.power
    size = abs(floor.value) if floor.value else None
    relative = (
        RELATIVE_NOISE if size is None else min(max(floor.sd / size, LEAST_RELATIVE_NOISE), 1.0)
    )

    def shown(sds: float | None) -> dict[str, float | None]:
        gain = None if sds is None else sds * floor.sd
        percent = None if gain is None or size is None else 100 * gain / size
        return {"sds": sds, "metric": gain, "percent": percent}

    kinds = {"known": True, "estimated": False}
    return {
        "noise": to_json_values(floor),
        "alpha": alpha,
        "power": wanted,
        "detectable": [
            {"seeds": n}
            | {k: shown(detectable(n, alpha, wanted, known)) for k, known in kinds.items()}
            for n in SEEDS
        ],
        "seeds_needed": [
            shown(effect)
            | {k: seeds_needed(effect, alpha, wanted, known) for k, known in kinds.items()}
            for effect in effects
        ],
        "experiments": options.experiments,
        "false_keeps": [
            to_json_values(rule)
            for rule in false_keeps(
                options.experiments, options.seed, relative, options.sessions, tell
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


main = make_command(NAME, parse_options, _run)
