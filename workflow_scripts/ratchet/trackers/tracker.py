"""Reports a session's runs to trackers, each once, beside the session and never in its way.

A process of its own sends what is whole.  It is asked by events of the session, stays a moment
for the next one, since importing a tracker takes longer than sending a run, and keeps the ids
of what was sent.  A kill between sending and noting makes a run be sent again: trackers
know runs by their ids and have no second one.  What a tracker refuses is tried again with the
next event, and said once.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if not __package__:
    # Run by path: modules of this folder must not take the place of the trackers themselves.
    _PACKAGE = next(p for p in Path(__file__).resolve().parents if p.name == "ratchet")
    sys.path[:1] = []
    sys.path.append(str(_PACKAGE.parent))

from ratchet.base.errors import InputMissingError, RatchetError
from ratchet.base.io import lock_file, read_json, write_json
from ratchet.base.structs import to_json_values
from ratchet.base.text import one_line, shorten
from ratchet.config import Config
from ratchet.records.events import Event, Journal, append_line, read_events
from ratchet.records.paths import SessionPaths
from ratchet.records.records import Role
from ratchet.runs.process import let_last

if TYPE_CHECKING:
    from ratchet.session import Session
    from ratchet.trackers.tracked import TrackedRun

PACKAGES = {"trackio": "trackio", "wandb": "wandb", "mlflow": "mlflow-skinny"}
"""Trackers by the name of their module, and the package that has it."""

TRACKIO_REMOTE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
_LOCAL: Mapping[str, Callable[[str], Mapping[str, str]]] = {
    "trackio": lambda folder: {"TRACKIO_DIR": folder},
    "wandb": lambda folder: {"WANDB_DIR": folder, "WANDB_MODE": "offline"},
    "mlflow": lambda folder: {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"},
}

RUN_SECONDS = 45.0
"""A run that was not sent after so long is given up for now; less than the report waits."""

MOST_REFUSED = 3
"""After so many runs in a row it is the tracker that does not work."""

LINGER_SECONDS = 20.0
LOOK_SECONDS = 0.2
END_SECONDS = 60.0
"""So long the report waits for what is not sent yet."""

REASON_CHARACTERS = 300
_WHOLE = {"verdict", "baseline", "certified", "confirmed", "transferred", "reported"}
_LAST = "reported"


class _Late(BaseException):
    """No ``Exception``: packages try those again."""


class Tracker(Protocol):
    """A project in a tracker."""

    def send(self, run: TrackedRun) -> None:
        """Have one run of this id, with these values; raises what went wrong."""

    def close(self) -> None:
        """Let go of everything."""


def require_tracker(name: str) -> None:
    """Raise :class:`InputMissingError` where a tracker's package is not installed."""
    spec = importlib.util.find_spec(name)
    # A folder of this name, as some leave behind, is no package.
    if spec is None or spec.origin is None:
        raise InputMissingError(
            f"trackers: expected the package {PACKAGES[name]} in this environment, found none; "
            "work in the environment that `make env-trackers` makes, or install it here: "
            f"{sys.executable} -m pip install {PACKAGES[name]}"
        )


def keep_in(name: str, folder: Path) -> None:
    """Have a tracker write into a folder alone; to be called before anything is sent."""
    folder.mkdir(parents=True)
    for variable in TRACKIO_REMOTE:
        os.environ.pop(variable, None)
    os.environ.update(_LOCAL[name](str(folder.resolve())))


def tracker_module(name: str) -> Any:
    """The module for a tracker; imports its package."""
    return importlib.import_module(f"ratchet.trackers.{name}")


def send_runs(name: str, project: str, group: str, runs: Sequence[TrackedRun]) -> Iterator[str]:
    """Send runs to a tracker; gives the id of each when it is there.

    One that is refused keeps no other back; it is raised at the end, or after some in a row.
    """
    refused = list[Exception]()
    with _in_time(RUN_SECONDS):
        tracker: Tracker = tracker_module(name).Tracker(project, group)
    row = 0
    try:
        for run in runs:
            try:
                with _in_time(RUN_SECONDS):
                    tracker.send(run)
            except Exception as error:  # whatever the package raises
                refused.append(error)
                row += 1
                if row == MOST_REFUSED:
                    break
                continue
            row = 0
            yield run.id
    finally:
        with _in_time(RUN_SECONDS):
            tracker.close()
    if refused:
        raise refused[0]


def sync_session(session: Session, name: str, over: bool = False, anew: bool = False) -> int:
    """Send what a tracker does not have yet of a session; returns the number of runs.

    ``over``: no more verdicts will come.  ``anew``: all is sent to another place than usual.
    """
    from ratchet.trackers.tracked import project_name, session_runs

    path = session.paths.tracked(name)
    sent = set(path.read_text(encoding="utf-8").split()) if path.is_file() and not anew else set()
    runs = list(session_runs(session, sent, over))
    if runs:
        for id_ in send_runs(name, project_name(session.task.name), runs[0].group, runs):
            if not anew:
                append_line(path, id_)
    return len(runs)


@contextlib.contextmanager
def _in_time(seconds: float) -> Iterator[None]:
    """Raise ``TimeoutError`` after so long, in the thread that waits."""

    def stop(_signal: int, _frame: object) -> None:
        raise _Late

    old = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _Late:
        raise TimeoutError(f"it took more than {seconds:g} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


class Reporter:
    """Listens to a journal and has runs sent when there are whole ones; never raises."""

    name = "trackers"
    program = Path(__file__)

    def __init__(self, config: Config, paths: SessionPaths, harness: Path) -> None:
        self.config = config
        self.paths = paths
        self.harness = harness
        self.order, self.lock = paths.tracking, paths.tracking_lock

    def __call__(self, event: Event) -> None:
        """Ask for what is whole by now; at the end wait for it, and say what is missing."""
        kind = event.get("event")
        # The runs of an experiment are whole with its verdict.
        other = kind == "run_finished" and event.get("role") != Role.SEARCH
        if kind not in _WHOLE and not other:
            return
        self.ask(kind == _LAST)

    def ask(self, last: bool) -> None:
        """Have sent what is whole by now; the ``last`` time wait for it."""
        try:
            process = self._order(last)
            if last:
                self._wait(process)
        except Exception as error:  # a tracker is never worth a session
            print(f"ratchet: {self.name}: {error}", file=sys.stderr, flush=True)

    def _order(self, last: bool) -> Any:
        """Leave an order, and start a process for it unless one is there."""
        import subprocess  # slow to import

        paths = self.paths
        self.order.parent.mkdir(parents=True, exist_ok=True)
        order = {
            "config": to_json_values(self.config),
            "root": str(paths.root.resolve()),
            "harness": str(self.harness.resolve()),
            "last": last,
        }
        write_json(self.order, order)
        try:
            with lock_file(self.lock, wait=False):
                pass
        except BlockingIOError:  # whoever holds it looks for another order before it ends
            return None
        own = {n: text for n, text in os.environ.items() if not n.startswith("RATCHET_")}
        paths.logs.mkdir(parents=True, exist_ok=True)
        with paths.log(self.name).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-E", str(self.program), str(self.order.resolve())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=paths.root.resolve(),
                env=own,
                start_new_session=True,
            )
        let_last(process.pid)
        return process

    def _wait(self, process: Any) -> None:
        """Wait until all is sent, or for some time; say what went wrong."""
        limit = time.monotonic() + END_SECONDS
        while time.monotonic() < limit:
            if process is None or process.poll() is not None:
                try:
                    with lock_file(self.lock, wait=False):
                        break
                except BlockingIOError:
                    pass  # another process serves the order
            time.sleep(LOOK_SECONDS)
        else:
            print(
                f"ratchet: {self.name}: not done after {END_SECONDS:g} s; goes on beside this",
                file=sys.stderr,
            )
        for line in self.failures():
            print(f"ratchet: {line}", file=sys.stderr, flush=True)

    def failures(self) -> list[str]:
        """A sentence for each thing that could not be sent."""
        return failure_lines(read_events(self.paths.events), self.paths.session)


def failure_words(error: Exception) -> str:
    """An error in one line, without the login that an address in it may hold."""
    kind = "" if isinstance(error, RatchetError) else f"{type(error).__name__}: "
    text = re.sub(r"(://)[^/\s@]+@", r"\1", one_line(f"{kind}{error}"))
    return shorten(text, REASON_CHARACTERS)


def failure_lines(events: Iterator[Event], session: str) -> list[str]:
    """A sentence for each tracker that has not all runs of a session."""
    last = dict[str, str]()
    for event in events:
        if event["event"] == "tracker_failed":
            last[str(event.get("tracker"))] = one_line(str(event.get("reason")))
        elif event["event"] == "tracker_works":
            last.pop(str(event.get("tracker")), None)
    return [
        f"tracker {name}: {reason}; send what is missing: ratchet export {session} --to {name}"
        for name, reason in last.items()
    ]


Order = Mapping[str, Any]


def serve_orders(path: Path, carry_out: Callable[[Order], None]) -> None:
    """Serve the orders of one file until none comes, and end the process."""
    with contextlib.suppress(OSError):
        os.nice(10)
    while True:
        try:
            with lock_file(path.with_name("lock"), wait=False):
                served = _serve(path, carry_out)
        except (BlockingIOError, FileNotFoundError):
            break
        # One that came before the lock was free asked nobody else.
        if _stamp(path) == served:
            break
    # Threads of a tracker that hang keep no process alive.
    sys.stdout.flush()
    os._exit(0)


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _serve(path: Path, carry_out: Callable[[Order], None]) -> int:
    """Carry out orders until the last one, or until none has come for some time."""
    served, idle = 0, time.monotonic()
    while time.monotonic() - idle < LINGER_SECONDS:
        stamp = _stamp(path)
        if not stamp:
            break
        if stamp != served:
            order = read_json(path)
            carry_out(order)
            served, idle = stamp, time.monotonic()
            if order["last"]:
                break
        else:
            time.sleep(LOOK_SECONDS)
    return served


def _carry_out(order: Order) -> None:
    """Send what is whole to every tracker; the journal says which failed, and why."""
    from ratchet.session import Session

    config, root = Config(**order["config"]), Path(order["root"])
    journal = Journal(SessionPaths(config.session, root).events)
    for name in config.trackers:
        try:
            session = Session.open(config, root, Path(order["harness"]), journal)
            sync_session(session, name, over=order["last"])
            reason = ""
        except Exception as error:  # also whatever a package raises
            traceback.print_exc()
            reason = failure_words(error)
        note_outcome(journal, name, reason)


def note_outcome(journal: Journal, name: str, reason: str) -> None:
    """Note that a tracker failed, or works again, where that is news."""
    before = ""
    for event in read_events(journal.path):
        if event.get("tracker") == name:
            before = str(event.get("reason", "")) if event["event"] == "tracker_failed" else ""
    if reason and reason != before:
        journal.append("tracker_failed", tracker=name, reason=reason)
    elif before and not reason:
        journal.append("tracker_works", tracker=name)


if __name__ == "__main__":
    serve_orders(Path(sys.argv[1]), _carry_out)
