"""Colours, sizes, scales and axes that all figures share."""

import itertools
import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import quantiles
from typing import Any

from ratchet.base.colours import LIGHT
from ratchet.base.structs import Frozen
from ratchet.base.text import shorten
from ratchet.records.confirmed import GainStanding
from ratchet.report.inputs import Facts, metric_text

# Tukey's fence: further than this many interquartile ranges outside the
# quartiles a point says nothing that "far off" does not say as well.
FENCE = 1.5

MARGIN = 0.08
"""Share of an axis at either end that is left to marks of what lies beyond."""

FAR = 0.2
"""Share of a broken axis that each compressed part has."""

DENSE = 0.6
"""An axis is broken where something is further away than this part of what most values span..."""

LEAST_DENSE = 12
"""...and these are at least so many."""


class Range(Frozen):
    """An axis from ``low`` to ``high`` with room at both ends for edge marks.

    Where nearly all values lie close together and a few far away, the ``dense`` part has
    most of the axis and what is beyond is compressed.
    """

    low: float
    high: float
    dense: tuple[float, float] | None = None

    @property
    def knots(self) -> tuple[tuple[float, float], ...]:
        """Values at which the scale of the axis changes, its ends included, and their places."""
        low, high = self.dense or (self.low, self.high)
        inner = {low: FAR * (low > self.low), high: 1 - FAR * (high < self.high)}
        return tuple({self.low: 0.0, **inner, self.high: 1.0}.items())

    def place(self, value: float) -> float:
        """Place of a value: 0 at the low end of the axis, 1 at the high one."""
        return _between(value, self.knots)

    def value(self, place: float) -> float:
        """The value at a place."""
        return _between(place, [(share, value) for value, share in self.knots])

    def clip(self, value: float) -> float:
        """The value, or the end of the axis that it is beyond."""
        return min(max(value, self.low), self.high)

    def holds(self, value: float) -> bool:
        """Whether a value can be drawn where it belongs."""
        return MARGIN / 2 - 1e-9 <= self.place(value) <= 1 - MARGIN / 2 + 1e-9

    def edge(self, *, top: bool) -> float:
        """Middle of the strip where values beyond the axis are marked."""
        return self.value(1 - MARGIN / 4 if top else MARGIN / 4)


def _between(at: float, pairs: Sequence[tuple[float, float]]) -> float:
    """Linear interpolation between pairs, and beyond them along the first or last two."""
    later = next((i for i in range(1, len(pairs) - 1) if at < pairs[i][0]), len(pairs) - 1)
    (x, y), (x2, y2) = pairs[later - 1], pairs[later]
    return y + (at - x) / (x2 - x) * (y2 - y)


def _near(pool: Sequence[float]) -> list[float]:
    """Those of some sorted values that are not wild."""
    first, _, third = quantiles(pool, n=4, method="inclusive") if len(pool) > 1 else [*pool] * 3
    reach = FENCE * (third - first)
    return [v for v in pool if first - reach <= v <= third + reach]


def robust_range(values: Iterable[float], essential: Iterable[float]) -> Range:
    """An axis that shows all ``essential`` values and every other one that is not wild."""
    needed = list(essential)
    pool = sorted([*values, *needed])
    if not pool:
        return Range(0.0, 1.0)
    shown = [*_near(pool), *needed]
    low, high = min(shown), max(shown)
    if low == high:
        half = abs(low) / 100 or 0.5
        low, high = low - half, high + half
    pad = (high - low) * MARGIN / (1 - 2 * MARGIN)
    return Range(low - pad, high + pad)


def broken_range(values: Sequence[float], essential: Sequence[float]) -> Range:
    """A robust axis that is broken where most values share a small part of it."""
    pool = sorted([*values, *essential])
    if len(pool) < LEAST_DENSE:
        return robust_range(values, essential)
    near = _near(pool)
    least, most = min(near[0], *essential), max(near[-1], *essential)
    reach = DENSE * (near[-1] - near[0])
    below, above = near[0] - least > reach > 0, most - near[-1] > reach > 0
    if not (below or above):
        return robust_range(values, essential)
    low, high = near[0] if below else least, near[-1] if above else most
    pad = (high - low) * MARGIN
    low, high = low - pad, high + pad
    stretch = FAR / (FAR - MARGIN)
    return Range(
        low - (low - least) * stretch if below else low,
        high + (most - high) * stretch if above else high,
        (low, high),
    )


class Anchor(Frozen):
    """A point in pixels (y downwards) that would like a label of ``length`` pixels."""

    x: float
    y: float
    length: float
    weight: float


class Label(Frozen):
    """Where the label of the anchor ``index`` begins (``left``) or ends, and its middle ``y``."""

    index: int
    x: float
    y: float
    left: bool


class Plane:
    """What is taken of a plot, in cells of two pixels; a row is a number whose bits are cells."""

    CELL = 2

    def __init__(self, left: float, right: float, height: float) -> None:
        """A plot that is used from ``left`` (at most 0) to ``right``."""
        self._left, self._right = left, right
        self._rows = [0] * max(1, math.ceil(height / self.CELL))

    def _cells(self, box: tuple[float, float, float, float]) -> tuple[range, int]:
        left, top, right, bottom = box
        first = max(0, math.floor((left - self._left) / self.CELL))
        last = max(first, math.ceil((min(right, self._right) - self._left) / self.CELL))
        rows = range(
            max(0, math.floor(top / self.CELL)),
            min(len(self._rows), math.ceil(bottom / self.CELL)),
        )
        return rows, (1 << last) - (1 << first)

    def take(self, box: tuple[float, float, float, float]) -> None:
        """Mark a box of left, top, right and bottom as taken."""
        rows, mask = self._cells(box)
        for row in rows:
            self._rows[row] |= mask

    def is_free(self, box: tuple[float, float, float, float]) -> bool:
        """Whether a box lies within the plot and on nothing that is taken."""
        left, top, right, bottom = box
        if left < self._left or right > self._right or top < 0:
            return False
        if bottom > self.CELL * len(self._rows):
            return False
        rows, mask = self._cells(box)
        return not any(self._rows[row] & mask for row in rows)


GAP = 5
"""Pixels between a label and the line to its point."""


def place_labels(
    anchors: Sequence[Anchor], plane: Plane, size: int, most: int, *, up: bool, reach: float
) -> list[Label]:
    """Labels that touch nothing and each other, the weightiest first.

    A label stands above its point (``up``) or below it, to the right of a line from there
    or to its left, as near as there is room, at most ``reach`` pixels away.  Labels and
    lines are taken from the plane; a line may cross points, but no label.
    """
    found, half, words = list[Label](), 0.5 * size + 2, list[tuple[float, float, float, float]]()
    order = sorted(range(len(anchors)), key=lambda i: (-anchors[i].weight, i))
    for i in order[: 3 * most]:
        if len(found) == most:
            break
        a, sign = anchors[i], -1 if up else 1
        for away in range(0, int(reach), 4):
            y = a.y + sign * away
            line = (a.x - 1, min(a.y, y), a.x + 1, max(a.y, y))
            if any(_touch(line, box) for box in words):
                continue
            start = a.x + GAP + (6 if away < half else 0)
            end = 2 * a.x - start
            sides = (True, start, start + a.length), (False, end - a.length, end)
            free = next(
                (
                    (left, box)
                    for left, *ends in sides
                    if plane.is_free(box := (ends[0], y - half, ends[1], y + half))
                ),
                None,
            )
            if free is not None:
                left, box = free
                found.append(Label(i, box[0] if left else box[2], y, left))
                words.append(box)
                plane.take(box)
                plane.take(line)
                break
    return found


def _touch(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def text_length(text: str, size: float) -> float:
    """Pixels that a text takes in the figures' font, rather too many than too few."""
    return size * sum(_WIDTHS.get(c) or _letter(c) for c in text)


_WIDTHS = {
    **dict.fromkeys("fijlrtI .,:;!|'()[]/-", 0.34),
    **dict.fromkeys("mwMW%@→—…", 1.0),
}
"""Widths of characters that are far from the average, as a share of the font's size."""


def _letter(character: str) -> float:
    if not character.isascii():
        return 1.0 if unicodedata.east_asian_width(character) in "WF" else 0.7
    return 0.74 if character.isupper() else 0.57


def fitted(text: str, room: float, size: float) -> str:
    """A text that is cut where it would be longer than so many pixels."""
    while text and text_length(text, size) > room:
        text = shorten(text, len(text) - 1) if len(text) > 2 else ""
    return text


Spec = dict[str, Any]
Row = dict[str, Any]
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"

# Comes with the renderer, so pictures look alike on a machine without fonts.
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"

# From here on a number with its separators is broader than the room beside an axis.
LARGE = 1e6


class Frame(Frozen):
    """Size of a figure in pixels: the plot itself and the paddings around it."""

    width: int
    height: int
    left: int = 80
    right: int = 16
    top: int = 34
    bottom: int = 44
    font: int = 14
    labels: int = 14
    legend_columns: int = 8
    title: bool = False


FigureTable = Mapping[str, tuple[Callable[[Facts, Frame], Spec | None], *tuple[Frame, ...]]]
"""Figures of a page, each with its frames for wide and for narrow windows, or one for both."""


def base_spec(frame: Frame) -> Spec:
    """A specification without layers: fixed size, quiet axes."""
    axis = {
        "labelColor": LIGHT["muted"],
        "titleColor": LIGHT["muted"],
        "titlePadding": 10,
        "titleFontWeight": "normal",
        "domainColor": LIGHT["line"],
        "tickColor": LIGHT["line"],
        "gridColor": LIGHT["line"],
        "gridOpacity": 0.7,
        "labelFontSize": frame.font - 1,
        "titleFontSize": frame.font - 1,
        "labelOverlap": True,
    }
    return {
        "$schema": SCHEMA,
        "autosize": "none",
        "width": frame.width,
        "height": frame.height,
        "padding": {
            "left": frame.left,
            "right": frame.right,
            "top": frame.top,
            "bottom": frame.bottom,
        },
        "background": LIGHT["surface"],
        "config": {
            "aria": False,
            "font": FONT,
            "view": {"stroke": None},
            "axis": axis,
            "legend": {"labelColor": LIGHT["ink"], "labelFontSize": frame.font - 1},
        },
    }


def tick_axis(title: str, low: float, high: float) -> Spec:
    """An axis of numbers; those that would not fit beside it in powers of ten."""
    axis: Spec = {"title": title, "tickCount": 6}
    return {**axis, "format": "~e"} if max(abs(low), abs(high)) >= LARGE else axis


def value_axis(field: str, over: Range, title: str, height: int = 0) -> Spec:
    """Position of a measured value on an axis of its own; one that may be broken has a height."""
    scale: Spec = {"domain": [over.low, over.high], "nice": False, "zero": False}
    axis = tick_axis(title, over.low, over.high)
    if over.dense is not None:
        scale["domain"] = [value for value, _ in over.knots]
        scale["range"] = [round(height * (1 - place), 2) for _, place in over.knots]
        axis["values"], step = _ticks(over)
        axis["format"] = axis.get("format", f",.{max(0, -math.floor(math.log10(step) + 1e-9))}f")
    return {"field": field, "type": "quantitative", "scale": scale, "axis": axis}


def _ticks(over: Range) -> tuple[list[float], float]:
    """Round values on a broken axis, several in its dense part, and their least distance."""
    ticks, least = list[float](), math.inf
    for (low, place), (high, other) in itertools.pairwise(over.knots):
        about = (high - low) / max(2.5, 6 * (other - place))
        power = 10.0 ** math.floor(math.log10(about))
        step = next(k * power for k in (1, 2, 5, 10) if k * power >= about)
        least = min(least, step)
        first, last = math.ceil(low / step), math.floor(high / step)
        ticks += [float(f"{n * step:.12g}") for n in range(first, last + 1)]
    return sorted(t for t in set(ticks) if MARGIN / 4 < over.place(t) < 1 - MARGIN / 4), least


def metric_title(facts: Facts) -> str:
    """Title of an axis of the metric: name, unit and which way is better."""
    metric = facts["metric"]
    unit = f" ({metric['unit']})" if metric["unit"] else ""
    return f"{shorten(metric['name'] + unit, 36)}, {metric['better']} is better"


def class_encodings(
    classes: Sequence[Sequence[Any]], rows: Sequence[Row], frame: Frame, padding: int
) -> Spec:
    """Shape, colour and area of points by class (name and these), with one legend above."""
    names, shapes, roles, sizes = zip(*classes, strict=True)
    present = {row["class"] for row in rows}
    legend = {
        "title": None,
        "orient": "none",
        "legendX": 0 if frame.width > 400 else 8 - frame.left,
        "legendY": -10 - 18 * math.ceil(len(present) / frame.legend_columns),
        "direction": "horizontal",
        "columns": frame.legend_columns,
        "values": [name for name in names if name in present],
        "columnPadding": padding,
        "rowPadding": 2,
    }
    ranges = {"shape": shapes, "color": [LIGHT[role] for role in roles], "size": sizes}
    return {
        channel: {
            "field": "class",
            "type": "nominal",
            "scale": {"domain": list(names), "range": list(values)},
            "legend": legend,
        }
        for channel, values in ranges.items()
    }


def haloed_words(rows: list[Row], mark: Spec, encoding: Spec, role: str) -> list[Spec]:
    """Words over points: a halo of the ground's colour below them.

    Layers that are ``named_`` are parted by the page's script where it draws narrower.
    """
    halo = {"stroke": LIGHT["surface"], "strokeWidth": 3, "strokeJoin": "round"}
    side = "low" if mark.get("dy", 0) > 0 else "high"
    name = f"named_{role}_{mark.get('align', 'center')}_{side}"
    below = mark_layer(rows, {**mark, **halo, "color": LIGHT["surface"]}, encoding)
    words = mark_layer(rows, {**mark, "color": LIGHT[role]}, encoding)
    return [{"name": f"{name}_halo", **below}, {"name": name, **words}]


def mark_layer(values: list[Row], mark: Spec, encoding: Spec) -> Spec:
    """One mark over its own data."""
    return {"data": {"values": values}, "mark": mark, "encoding": encoding}


def figure_title(facts: Facts, width: int) -> Spec:
    """Answer, gain with its interval, and session above a picture that stands alone."""
    counts, totals = facts["counts"], facts["totals"]
    about = (
        f"{facts['session']} · {facts['task']} · {counts['kept']:,} of {counts['judged']:,} "
        f"experiments kept, {totals['runs']:,} runs"
    )
    lines = [line for line in (gain_line(facts), about) if line]
    return {
        "text": fitted(facts["answer"]["headline"], width, 1.04 * TITLE),
        "subtitle": [fitted(line, width, SUBTITLE) for line in lines],
        "anchor": "start",
        "frame": "group",
        "offset": 12,
        "fontSize": TITLE,
        "color": LIGHT["ink"],
        "subtitleColor": LIGHT["muted"],
        "subtitleFontSize": SUBTITLE,
        "subtitleLineHeight": 19,
        "subtitlePadding": 6,
    }


TITLE, SUBTITLE = 20, 14


def gain_line(facts: Facts) -> str:
    """The gain, its interval, and what it rests on; empty without any."""
    found, best = facts["confirmation"], facts["best"]
    if found is not None and found["gain"] is not None:
        interval = "no interval"
        if found["low"] is not None and found["high"] is not None:
            ends = (metric_text(facts, found[end]) for end in ("low", "high"))
            interval = f"{100 * found['level']:.0f} % interval {' to '.join(ends)}"
        where = "on unseen data" if found["unseen"] else "by fresh runs"
        sure = "confirmed" if found["standing"] == GainStanding.CONFIRMED else "not confirmed"
        return f"gain {metric_text(facts, found['gain'])} {where}, {interval}: {sure}"
    base = facts["baseline"]["mean"]
    if best is None or not best["number"] or best["estimate"] is None or base is None:
        return ""
    gain = (base - best["estimate"]) * (1 if facts["metric"]["better"] == "lower" else -1)
    sd = "" if best["sd"] is None else f" ± {metric_text(facts, best['sd'])}"
    return f"gain {metric_text(facts, gain)}{sd} in the search, the judge's estimate: not confirmed"
