"""Training loss of a run under way, with the incumbent's behind it: on a terminal and in a page.

What is shown is read from the log of the run, in the unfinished folder of the store that the
event of its start names, and compared at equal step with the stored curve of the incumbent.
"""

import contextlib
import itertools
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from ratchet.base.errors import RatchetError
from ratchet.base.structs import Frozen, to_json_values
from ratchet.base.terminal import CLEAR_LINE, WIDTH, cut_line
from ratchet.base.text import one_line_label
from ratchet.monitor.progress import fold_events
from ratchet.records.events import read_events
from ratchet.records.paths import SessionPaths
from ratchet.records.series import CurvePoint, thinned
from ratchet.records.store import LOG, Store
from ratchet.runs.curve import printed_curve, run_curve

Facts = Mapping[str, Any]

SHOWN_POINTS = 120
"""Points of a curve that are shown: more than a page has room for."""

LIVE_LINES = 2 * SHOWN_POINTS
"""Lines of a log that are read at each look."""

COLUMNS, WIDE_COLUMNS = 16, 32
"""Columns of a curve where two share a line of a terminal, and where it has one of its own."""

EARLY_PERCENT = 15
"""Part of the steps in which a loss may leave the drawing at the top."""

BLOCKS, PLAIN = "▁▂▃▄▅▆▇█", "_.-~=+*#"
"""Levels of a curve in a line of text; the second where a terminal shows ASCII alone."""


class LiveCurve(Frozen):
    """Loss of a run under way, its last step, and the incumbent's loss at that step.

    ``curve`` and ``incumbent`` are pairs of step and loss; of a run that has not printed
    enough there is none.  A loss that is no number is ``None``.
    """

    step: int
    loss: float | None
    here: float | None
    curve: Sequence[tuple[int, float | None]]
    incumbent: Sequence[tuple[int, float | None]] = ()

    @classmethod
    def of(cls, curve: Sequence[CurvePoint], held: Sequence[CurvePoint]) -> "LiveCurve":
        """From the points of a run, of which there is one at least, and of the incumbent's."""
        last = curve[-1]
        here = loss_at(held, last.step)
        return cls(last.step, _finite(last.loss), here, _pairs(curve), _pairs(held))


def _pairs(curve: Sequence[CurvePoint]) -> list[tuple[int, float | None]]:
    return [(point.step, _finite(point.loss)) for point in thinned(curve, SHOWN_POINTS)]


def _finite(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None


def loss_at(curve: Sequence[CurvePoint], step: int) -> float | None:
    """Loss of a curve at a step, between two points by the line through them.

    ``None`` before its first point, after its last one, and where it is no number.
    """
    for before, after in itertools.pairwise(curve):
        if before.step <= step <= after.step:
            part = (step - before.step) / max(after.step - before.step, 1)
            return _finite(before.loss + part * (after.loss - before.loss))
    return None


def with_curves(facts: dict[str, Any], paths: SessionPaths) -> dict[str, Any]:
    """Facts of a standing with the curve of each run that is at work, where it printed one."""
    store = Store(paths.store)
    for work in facts["current"]:
        work["curve"] = None
        folder = work.get("folder")
        if folder and Path(folder).name == folder:
            # Its log is gone, or the event was damaged.
            with contextlib.suppress(OSError, ValueError, RatchetError):
                log = (paths.store.partial / folder / LOG).read_bytes()
                points = printed_curve(log, None, work.get("pattern", ""), LIVE_LINES)
                key = facts["incumbent_run"]
                held = run_curve(store, key) if points and key else []
                work["curve"] = to_json_values(LiveCurve.of(points, held)) if points else None
    return facts


def curve_rows(curve: Facts, stream: TextIO | None = None, width: int = COLUMNS) -> list[str]:
    """The curve of a run and that of the incumbent, if there is one, on common axes."""
    levels = BLOCKS if _shows_blocks(stream or sys.stdout) else PLAIN
    both = [binned(curve[name], width, _last_step(curve)) for name in ("curve", "incumbent")]
    # What comes first is cut where it is higher: nothing else would be seen.
    reached = sum(value is not None for value in both[0])
    first = max(1, min(width * EARLY_PERCENT // 100, reached // 2))
    known = [value for bins in both for value in bins[first:] if value is not None]
    known = known or [value for bins in both for value in bins if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    rows = ["".join(_level(v, low, high, levels) for v in bins).rstrip() for bins in both]
    # A run all of whose losses are no numbers has an empty row above the incumbent's.
    return rows if curve["incumbent"] else [row for row in rows[:1] if row]


def _shows_blocks(stream: TextIO) -> bool:
    return (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")


def loss_words(loss: float | None) -> str:
    return "nan" if loss is None else f"{loss:.4g}"


def _last_step(curve: Facts) -> int:
    ends = [points[-1][0] for points in (curve["curve"], curve["incumbent"]) if points]
    return max(ends, default=0)


def binned(points: Sequence[tuple[int, float | None]], width: int, last: int) -> list[float | None]:
    """Mean loss in each of ``width`` equal parts of the steps up to ``last``.

    Parts without a point lie on the line between those beside them, and those before the first
    point have its loss; after the last point there is none.
    """
    parts: list[list[float]] = [[] for _ in range(width)]
    reached = -1
    for step, loss in points:
        place = min(width - 1, width * step // max(last, 1))
        reached = max(reached, place)
        parts[place] += [] if loss is None else [loss]
    means = [CurvePoint(place, sum(all_) / len(all_)) for place, all_ in enumerate(parts) if all_]
    found = [loss_at(means, place) if place <= reached else None for place in range(width)]
    if means:
        first = means[0]
        found[: first.step] = [first.loss] * first.step
        found[means[-1].step] = means[-1].loss
    return found


def _level(value: float | None, low: float, high: float, levels: str) -> str:
    if value is None:
        return " "
    part = (value - low) / (high - low) if high > low else 0.0
    return levels[round(min(max(part, 0.0), 1.0) * (len(levels) - 1))]


def curve_line(work: Facts, stream: TextIO | None = None) -> str:
    """One line about a run at work: its experiment, its loss, and the incumbent's."""
    curve, rows = work["curve"], curve_rows(work["curve"], stream)
    name = f"#{work['number']}" if work["number"] else one_line_label(work["description"], 9)
    text = f"{name}  loss {loss_words(curve['loss'])} {rows[0] if rows else ''}"
    if not curve["incumbent"]:
        return text
    here = "" if curve["here"] is None else f" {loss_words(curve['here'])}"
    return f"{text}  incumbent{here} {rows[-1]}"


def curve_words(curve: Facts) -> list[str]:
    """Rows about a run at work, the incumbent's second: curve, loss and step."""
    rows = curve_rows(curve, width=WIDE_COLUMNS)
    said = [f"{loss_words(curve['loss'])} at step {curve['step']:,}"]
    if curve["incumbent"]:
        here = "" if curve["here"] is None else f" {loss_words(curve['here'])} there"
        said.append(f"incumbent{here}")
    return [f"{row} {words}" for row, words in zip(rows, said, strict=False)]


def draw_line(paths: SessionPaths, stream: TextIO) -> None:
    """Draw one line about the run at work, if it has printed a loss, over the one before.

    The cursor waits at its beginning, so that whoever writes next writes over it.
    """
    standing = fold_events(read_events(paths.events))
    facts: dict[str, Any] = {
        "current": [work._asdict() for work in standing.work.values()],
        "incumbent_run": standing.incumbent_run,
    }
    works = [work for work in with_curves(facts, paths)["current"] if work["curve"]]
    if works:
        clock = time.strftime("%H:%M:%S", time.gmtime())
        line = cut_line(f"{clock}  {curve_line(works[-1], stream)}", _columns(stream) - 1)
        print(f"{CLEAR_LINE}{line}\r", end="", file=stream, flush=True)


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return WIDTH


WIDE, HIGH = 640.0, 170.0
"""Size of the drawing in a page, in its own units."""


def curve_svg(curve: Facts) -> str:
    """Drawing of a run's loss over the incumbent's, for a page; all in it is made of numbers."""
    both = [curve["curve"], curve["incumbent"]]
    last = max(_last_step(curve), 1)
    # A loss falls steeply at first, and nothing else would be seen.
    skipped = min(last * EARLY_PERCENT // 100, curve["step"] // 2)
    losses = [v for points in both for step, v in points if v is not None and step >= skipped]
    losses = losses or [v for points in both for _, v in points if v is not None] or [0.0]
    low, high = min(losses), max(losses)
    span = (high - low) or 1.0

    def line(points: Sequence[tuple[int, float | None]], name: str) -> str:
        places = [
            f"{WIDE * step / last:.1f},{HIGH * (high - loss) / span:.1f}"
            for step, loss in points
            if loss is not None and loss - high < span
        ]
        # The last one twice, so that a first point is seen, too.
        along = " ".join([*places, *places[-1:]])
        return f'<polyline class="{name}" points="{along}"/>' if places else ""

    ends = (
        f"<span>loss {loss_words(low)} to {loss_words(high)}</span><span>step 0 to {last:,}</span>"
    )
    said = f"Training loss by step: {loss_words(curve['loss'])} at step {curve['step']}"
    return (
        f'<svg viewBox="0 -3 {WIDE:g} {HIGH + 6:g}" role="img" aria-label="{said}" '
        f'preserveAspectRatio="none">{line(both[1], "held")}{line(both[0], "own")}</svg>\n'
        f'<p class="ends muted">{ends}</p>\n'
    )
