"""What people are told of while a session runs, found in its events.

An event is news only if the journal does not hold it already: a session that was
killed, or is judged again, writes some events twice.  What is only replayed from
the store is no news either.  So nobody is told a thing twice; one that a kill
hits between event and message is not told.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ratchet.codec import Frozen
from ratchet.errors import FixedInputChangedError
from ratchet.results_tsv import one_line
from ratchet.vocabulary import Verdict

Event = Mapping[str, Any]

MOST_CHARACTERS = 500
"""Longer messages are cut: some ways of sending refuse them, nobody reads them."""

FAILED = (Verdict.CRASH, Verdict.TAMPERED)


class Kind(enum.StrEnum):
    """Why somebody is told."""

    ENDED = "ended"
    FAILED = "failed"
    CHAMPION = "champion"
    ALARM = "alarm"
    FAILURES = "failures"


class Notice(Frozen):
    """One message; ``event`` is the journal's."""

    kind: Kind
    session: str
    message: str
    event: Event


def notices(event: Event, earlier: Sequence[Event], session: str, failures: int) -> list[Notice]:
    """What people are to be told of ``event``, given all events before it.

    ``failures``: so many failed experiments or proposals in a row are told once.
    """
    find = _FIND.get(str(event.get("event")))
    if find is None:
        return []
    try:
        if not _is_news(event, earlier):
            return []
        found = [*find(event, earlier), *_in_a_row(event, earlier, failures)]
    except (KeyError, TypeError, ValueError):  # a damaged line of the journal
        return []
    return [Notice(kind, session, _said(session, text), event) for kind, text in found]


def matters(event: Event) -> bool:
    """Whether an event may be told of at all, so that the journal need be read."""
    return str(event.get("event")) in _FIND


def _said(session: str, text: str) -> str:
    line = one_line(f"session {session}: {text}")
    # Half of a surrogate pair cannot be handed to a program.
    line = line.encode("utf-8", "replace").decode()
    return line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 1] + "…"


# -------------------------------------------------------------------------- news


def _is_news(event: Event, earlier: Sequence[Event]) -> bool:
    kind = event["event"]
    if kind == "failed":
        return not any(_same(event, old, ("step", "message")) for old in _quiet(earlier))
    if not any(old["event"] == "run_finished" for old in earlier):
        return False
    same = _SAME[kind]
    before = _since_work(earlier) if kind in _ENDS else earlier
    return not any(old["event"] == kind and _same(event, old, same) for old in before)


_SAME = {
    "verdict": ("number", "verdict"),
    "remeasured": ("round", "number"),
    "agent_refused": ("round", "slot", "attempt"),
    "reported": ("answer",),
    "evolved": ("answer",),
    "audited": ("answer",),
}
_ENDS = ("reported", "evolved", "audited")
_WORK = ("run_finished", "verdict", "round_finished", "prepared", "baseline", "confirmed")


def _same(event: Event, old: Event, names: Sequence[str]) -> bool:
    return all(event.get(name) == old.get(name) for name in names)


def _quiet(earlier: Sequence[Event]) -> Iterator[Event]:
    """Failures since anything was last done."""
    for old in reversed(earlier):
        if old["event"] in _WORK:
            return
        if old["event"] == "failed":
            yield old


def _since_work(earlier: Sequence[Event]) -> list[Event]:
    """Reports since a run was last executed: the same answer again is no news."""
    last = max(
        (place for place, old in enumerate(earlier) if old["event"] == "run_finished"), default=0
    )
    return list(earlier[last:])


# ------------------------------------------------------------------------- texts

Found = Iterator[tuple[Kind, str]]


def _verdict(event: Event, earlier: Sequence[Event]) -> Found:
    verdict, name = Verdict(event["verdict"]), event["description"]
    executed = any(
        old["event"] == "run_finished" and old.get("number") == event["number"] for old in earlier
    )
    if verdict.is_keep and executed:
        sure = "" if event.get("confidence") is None else f", P {event['confidence']:.3f}"
        yield (
            Kind.CHAMPION,
            f"new champion in round {event['round']}/{event['rounds']}: {name} "
            f"(best {event['best']:.4f} ± {event['noise']:.4f}{sure}, {event['kept']} kept)",
        )
    if verdict is Verdict.TAMPERED:
        yield (
            Kind.ALARM,
            f"experiment {event['number']} is tampered with: {name}: {event['reason']}",
        )


def _remeasured(event: Event, _earlier: Sequence[Event]) -> Found:
    if event["alarm"]:
        yield (
            Kind.ALARM,
            f"the incumbent moved: expected {event['expected']:.4f} ± {event['sd']:.4f}, measured "
            f"{event['value']:.4f}; the machine or the data may have changed",
        )


def _ended(event: Event, earlier: Sequence[Event]) -> Found:
    # What ended it early counts while no experiment came after.
    stop = ""
    for old in earlier:
        if old["event"] == "stopped":
            stop = f"; no more experiments: {old['detail']}"
        elif old["event"] == "verdict":
            stop = ""
    yield Kind.ENDED, f"ended: {event['answer']}{stop}"


def _failed(event: Event, _earlier: Sequence[Event]) -> Found:
    alarm = event.get("error") == FixedInputChangedError.__name__
    yield Kind.ALARM if alarm else Kind.FAILED, f"stopped in {event['step']}: {event['message']}"


def _nothing(_event: Event, _earlier: Sequence[Event]) -> Found:
    yield from ()


def _in_a_row(event: Event, earlier: Sequence[Event], failures: int) -> Found:
    """The last of exactly so many failures; a longer row was told already."""
    if not _has_failed(event):
        return
    row = dict[tuple[Any, ...], bool]()
    for old in (*earlier, event):
        if old["event"] == "verdict":
            row.pop(("verdict", old["number"]), None)
            row["verdict", old["number"]] = _has_failed(old)
        elif old["event"] == "agent_refused" and not old["again"]:
            row["agent", old["round"], old.get("slot")] = True
    length = 0
    for failed in reversed(row.values()):
        if not failed:
            break
        length += 1
    if length == failures:
        last = event.get("description") or event.get("agent")
        row_of = f"{failures} failures in a row, the last" if failures > 1 else "failed"
        yield Kind.FAILURES, f"{row_of}: {last}: {event['reason']}"


def _has_failed(event: Event) -> bool:
    if event["event"] == "verdict":
        return Verdict(event["verdict"]) in FAILED
    return event["event"] == "agent_refused" and not event["again"]


_FIND: dict[str, Callable[[Event, Sequence[Event]], Found]] = {
    "verdict": _verdict,
    "remeasured": _remeasured,
    "reported": _ended,
    "evolved": _ended,
    "audited": _ended,
    "failed": _failed,
    "agent_refused": _nothing,
}
