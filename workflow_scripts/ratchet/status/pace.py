"""Times and lengths of time: when an event was, how long a session will go on."""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

Event = Mapping[str, Any]


def time_left(events: Sequence[Event], now: Event) -> float | None:
    """Seconds to the end of the session at a verdict, from the pace of its rounds.

    The median of the rounds' lengths counts, so that a night between two legs
    does not.
    """
    try:
        ends = {e["round"]: seconds(e) for e in events if e["event"] == "verdict"}
        start = [seconds(e) for e in events if e["event"] == "baseline"][-1:]
        lengths = [b - a for a, b in itertools.pairwise([*start, *ends.values()]) if b > a]
        runs = [float(e["wall_seconds"]) for e in events if e["event"] == "run_finished"]
        if not lengths or not runs:
            return None
        confirm = 2.0 * now["confirm_replicates"] * median(runs)
        return float((now["rounds"] - now["round"]) * median(lengths) + confirm)
    except (KeyError, TypeError, ValueError):  # a damaged line
        return None


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two; ``statistics`` is slow to import."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def seconds(event: Event) -> float:
    """When an event happened."""
    return datetime.datetime.fromisoformat(event["time"]).timestamp()


def iso(moment: float | None) -> str | None:
    """A time in UTC, as the journal writes it."""
    if moment is None:
        return None
    found = datetime.datetime.fromtimestamp(moment, datetime.UTC)
    return found.isoformat(timespec="seconds")


def duration(length: float) -> str:
    """A length of time as people say it."""
    if length < 90:
        return f"{length:.0f} s"
    if length < 90 * 60:
        return f"{length / 60:.0f} min"
    return f"{length / 3600:.1f} h" if length < 48 * 3600 else f"{length / 86400:.0f} days"


def ago(length: float) -> str:
    """How long something was ago."""
    return f"{duration(length)} ago"


def number(value: Any) -> float | None:
    """A finite number, or ``None`` for whatever else a damaged line holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def whole(value: Any) -> int | None:
    """An integer, or ``None`` for whatever else a damaged line holds."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
