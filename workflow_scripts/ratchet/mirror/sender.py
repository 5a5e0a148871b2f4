"""Mirrors a session while it runs, beside it and never in its way.

A process of its own sends what is new, asked by the session's events, as for trackers.  What
the mirror refuses is tried again with the next event, and said once.
"""

from __future__ import annotations

import functools
import json
import re
import sys
import time
import traceback
from collections.abc import Iterable
from pathlib import Path

if not __package__:
    # Run by path: modules of this folder must not take the place of packages.
    _PACKAGE = next(p for p in Path(__file__).resolve().parents if p.name == "ratchet")
    sys.path[:1] = []
    sys.path.append(str(_PACKAGE.parent))

from ratchet.base.errors import RatchetError
from ratchet.base.structs import to_json_values
from ratchet.base.text import one_line
from ratchet.config import Config
from ratchet.mirror.mirror import Mirror
from ratchet.monitor.views import Progress
from ratchet.records.events import Event, Journal, read_events
from ratchet.records.paths import SessionPaths
from ratchet.trackers.tracker import Order, Reporter, failure_words, serve_orders

FAILED, WORKS = "mirror_failed", "mirror_works"
_NUMBER = re.compile(r"\d+")
LAST_TRIES = 3
PAUSE_SECONDS = 5.0
_NEWS = frozenset(
    {"prepared", "run_finished", "baseline", "verdict", "certified", "confirmed", "transferred"}
)


_TOLD_WITH = frozenset({"baseline", "verdict", "certified"})
"""Events with which people are told of a failure since the one before."""


class MirrorSender(Reporter):
    """Listens to a journal and has what is new sent; never raises."""

    name = "mirror"
    program = Path(__file__)

    def __init__(self, config: Config, paths: SessionPaths, harness: Path) -> None:
        super().__init__(config, paths, harness)
        self.order, self.lock = paths.mirroring, paths.mirroring_lock

    def __call__(self, event: Event) -> None:
        """Ask for what is new; the workflow's end asks for the rest, and waits."""
        if event.get("event") in _NEWS:
            self.ask(last=False)
        if event.get("event") in _TOLD_WITH:
            failed = fresh_failure(read_events(self.paths.events))
            if failed is not None:
                Progress(self.paths.progress_log)(failed)

    def failures(self) -> list[str]:
        reason = last_failure(read_events(self.paths.events))
        again = f"send what is missing: ratchet mirror {self.paths.session}"
        return [f"mirror: {reason}; {again}"] if reason else []


def require_mirror(address: str, root: Path) -> None:
    """Raise where an address is none, or what is needed to reach it is not installed."""
    from ratchet.mirror.targets import open_target

    open_target(address, root)


def last_failure(events: Iterable[Event]) -> str:
    """Why the mirror has not all, empty where it has."""
    reason = ""
    for event in events:
        if event["event"] in (FAILED, WORKS):
            reason = one_line(str(event.get("reason", "")))
    return reason


def fresh_failure(events: Iterable[Event]) -> Event | None:
    """The failure that lies between the last event which people see and the one before it."""
    found, fresh = None, None
    for event in events:
        if event["event"] in _TOLD_WITH:
            found, fresh = fresh, None
        elif event["event"] in (FAILED, WORKS):
            fresh = event if event["event"] == FAILED else None
    return found


@functools.cache
def _mirror(config: str, root: str) -> Mirror:
    """The mirror of a session; what it has read is kept for the next order."""
    settings = Config(**json.loads(config))
    assert settings.mirror is not None
    return Mirror(settings.mirror, SessionPaths(settings.session, Path(root)))


def _carry_out(order: Order) -> None:
    """Send what is new; the journal says why that fails, and when it works again."""
    for left in reversed(range(LAST_TRIES if order["last"] else 1)):
        try:
            mirror = _mirror(json.dumps(to_json_values(order["config"])), order["root"])
            mirror.push()
            reason = ""
            break
        except Exception as error:  # also whatever a package raises
            if isinstance(error, RatchetError):
                print(error, file=sys.stderr, flush=True)
            else:
                traceback.print_exc()
            reason = failure_words(error)
            if left:
                time.sleep(PAUSE_SECONDS)
    session = SessionPaths(str(order["config"]["session"]), Path(order["root"]))
    note_outcome(Journal(session.events), reason)


def note_outcome(journal: Journal, reason: str) -> None:
    """Note that the mirror failed, or works again, where that is news."""
    before = last_failure(read_events(journal.path))
    # How long ago something was is no news.
    if reason and _NUMBER.sub("", reason) != _NUMBER.sub("", before):
        journal.append(FAILED, reason=reason)
    elif before and not reason:
        journal.append(WORKS)


if __name__ == "__main__":
    serve_orders(Path(sys.argv[1]), _carry_out)
