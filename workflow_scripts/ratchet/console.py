"""One line per event, for a terminal and for a log file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from ratchet.journal import Event, append_line, read_events
from ratchet.results_tsv import one_line
from ratchet.status import duration, time_left

_COLOURS = {
    "STRONG_KEEP": "32",
    "KEEP": "32",
    "MARGINAL": "33",
    "CRASH": "31",
    "TAMPERED": "31",
    "remeasured": "31",  # of these only an alarm is shown
}
_WIDTH = 44


class Progress:
    """Listens to a journal; prints each event and appends it to the log file."""

    def __init__(self, log: Path, stream: TextIO | None = None, who: str = "") -> None:
        """``who`` stands before each line: the competitor, where several share a terminal."""
        self.log = log
        self.who = f"{who:<12} " if who else ""
        self.stream = stream or sys.stderr
        self.colour = self.stream.isatty() and "NO_COLOR" not in os.environ

    def __call__(self, event: Event) -> None:
        """Show one event; those that say nothing to people are passed over."""
        text = line(event)
        if text is None:
            return
        left = self._time_left(event)
        text = f"{event['time'][11:19]}  {self.who}{text}{left}"
        append_line(self.log, text)
        code = _COLOURS.get(str(event.get("verdict", event["event"])))
        if self.colour and code:
            text = f"\x1b[{code}m{text}\x1b[0m"
        print(text, file=self.stream, flush=True)

    def _time_left(self, event: Event) -> str:
        if event["event"] != "verdict" or self.who:
            return ""
        seconds = time_left(list(read_events(self.log.with_name("events.jsonl"))), event)
        return "" if seconds is None else f" | about {duration(seconds)} left"


def line(event: Mapping[str, Any]) -> str | None:
    """What an event says to people, without its time; ``None`` for nothing."""
    speak = _SPEAK.get(event["event"])
    said = speak(event) if speak else None
    return None if said is None else one_line(said)


def _run_finished(event: Mapping[str, Any]) -> str:
    role = f"run {event['replicate'] + 1}" if event["role"] == "search" else event["role"]
    value = event["outcome"] if event["value"] is None else f"{event['value']:.6f}"
    name = _cut(event["description"])
    # As wide as the place of a verdict, so that the columns agree.
    return f"{role:<11}  {name:<{_WIDTH}} {value:>10}  {event['wall_seconds']:.1f} s"


def _verdict(event: Mapping[str, Any]) -> str:
    best = f"best {event['best']:.4f} ± {event['noise']:.4f} | {event['kept']} kept"
    sure = "" if event["confidence"] is None else f" P {event['confidence']:.3f}"
    rounds = str(event["rounds"])
    place = (
        f"round {event['round']:>{len(rounds)}}/{rounds}  {_cut(event['description']):<{_WIDTH}}"
    )
    said = ""
    if event.get("near_miss"):
        said = ", will be tried again"
    elif event["verdict"] in ("KEEP", "STRONG_KEEP") and (event.get("price") or 0.0) < 0:
        said = ", simpler"
    if (event.get("changes") or 0) > 1:
        said += f", {event['changes']} changes at once"
    return f"{place} {event['verdict']}{sure}{said} | {best}"


def _remeasured(event: Mapping[str, Any]) -> str | None:
    """A regular check of the incumbent says something only if it is alarming."""
    if not event["alarm"]:
        return None
    return (
        f"incumbent moved: expected {event['expected']:.4f} ± {event['sd']:.4f}, measured "
        f"{event['value']:.4f} (z = {event['z']:.1f}); the machine or the data may have changed"
    )


def _confirmed(event: Mapping[str, Any]) -> str:
    if event["gain"] is None:
        return f"confirmation failed: {event['detail']}"
    text = f"confirmed: gain {event['gain']:.4f}"
    if event["low"] is not None:
        text += f" (95 % interval {event['low']:.4f} to {event['high']:.4f})"
    return text


_SPEAK: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
    "session_started": lambda e: f"session {e['session']}: task {e['task']}",
    "prepared": lambda e: (
        f"inputs hashed, {len(e['data'])} data files ready; isolation of runs: {e['isolation']}"
        + (f"; preset {e['preset']}" if e.get("preset") else "")
    ),
    "refused": lambda e: f"not run      {_cut(e['description'])}: {e['reason']}",
    "agent_asked": lambda e: (
        f"asking       {e['agent']}, round {e['round']}{', once more' if e['attempt'] > 1 else ''} "
        f"(at most {e['minutes']:g} min)"
    ),
    "agent_refused": lambda e: (
        f"{'sent back' if e['again'] else 'no proposal':<11}  {e['agent']}, round {e['round']}: "
        f"{e['reason']}"
    ),
    "run_finished": _run_finished,
    "baseline": lambda e: (
        f"baseline {e['mean']:.4f} ± {e['noise']:.4f} (noise floor from {e['n']} runs)"
    ),
    "verdict": _verdict,
    "remeasured": _remeasured,
    "stopped": lambda e: f"no more experiments: {e['detail']}",
    "confirmed": _confirmed,
    "grafted": lambda e: (
        None if e["fate"] == "offered" else f"not offered  win {e['origin']}: {e['detail']}"
    ),
    "leg_finished": lambda e: (
        f"leg {e['number']} done   best {e['mean']:.4f} ± {e['sd']:.4f} | {e['kept']} kept, "
        f"{e['runs']} runs"
    ),
    "pollinated": lambda e: (
        f"round {e['number']} over: {e['leader']} leads, {e['offers']} wins offered to others"
    ),
    "worktree": lambda e: f"worktree     {e['path']}: {e['detail']}",
    "audited": lambda e: f"{e['answer']}\n",
    "evolved": lambda e: f"{e['answer']}\n",
    "reported": lambda e: f"{e['answer']}\n",
}


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
