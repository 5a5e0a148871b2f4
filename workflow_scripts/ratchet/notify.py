"""Tells people what happened, by a command of theirs, and never waits for it.

The command is a list of words, and no shell reads it: what is said holds words of
candidates and agents.  It runs in a process of its own that outlives the step,
under a limit of time; see :mod:`ratchet.messenger`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from ratchet import processes
from ratchet.config import Config
from ratchet.errors import FixedInputChangedError
from ratchet.journal import Event, Journal, read_events
from ratchet.notices import Notice, matters, notices
from ratchet.paths import SessionPaths
from ratchet.status import START

SECONDS = 60.0
"""A message that is not sent after so long will not be."""

MOST_BYTES = 32_000
"""Of JSON on standard input; events are far below it."""

LONGEST_REASON = 2000

# Run by path and not imported: it needs what the steps should not have to load.
MESSENGER = Path(__file__).with_name("messenger.py")


class Notifier:
    """Listens to a journal and has the command run for what is news."""

    def __init__(self, config: Config, paths: SessionPaths) -> None:
        self.config = config
        self.paths = paths

    def __call__(self, event: Event) -> None:
        """Tell of an event, if there is anything to tell; never raises."""
        command = self.config.notify_command
        if command is None or not matters(event):
            return
        try:
            earlier = list(read_events(self.paths.events))
            if event in earlier:
                earlier = earlier[: len(earlier) - 1 - earlier[::-1].index(event)]
            for notice in notices(event, earlier, self.paths.session, self.config.notify_failures):
                send(notice, command, self.paths)
        except Exception as error:  # a message is never worth a session
            print(f"ratchet: nobody could be told: {error}", file=sys.stderr, flush=True)


def send(notice: Notice, command: Sequence[str], paths: SessionPaths) -> None:
    """Have one message sent by a process that nobody waits for."""
    import subprocess  # slow to import, and seldom needed

    root = paths.root.resolve()
    order = {
        "command": words(command, notice),
        "input": _input(notice),
        "folder": str(root),
        "environment": environment(os.environ),
        "seconds": SECONDS,
        "events": str(paths.events.resolve()),
        "about": notice.kind.value,
    }
    process = subprocess.Popen(
        [sys.executable, "-S", "-E", str(MESSENGER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=root,
        start_new_session=True,
    )
    processes.let_last(process.pid)
    assert process.stdin is not None
    with contextlib.suppress(OSError), process.stdin:
        process.stdin.write(json.dumps(order).encode())


def words(command: Sequence[str], notice: Notice) -> list[str]:
    """The command with what its words stand for; ``python`` is the environment's own."""
    stands = {"{event}": notice.kind.value, "{session}": notice.session}
    found = []
    for word in command:
        for mark, text in stands.items():
            word = word.replace(mark, text)
        # Last, so that nothing within the message is replaced.
        found.append(word.replace("{message}", notice.message))
    return [sys.executable if found[0] == "python" else found[0], *found[1:]]


def _input(notice: Notice) -> str:
    fields = {"event": notice.kind.value, "session": notice.session, "message": notice.message}
    whole = json.dumps({**fields, "details": notice.event})
    return whole if len(whole) <= MOST_BYTES else json.dumps({**fields, "details": None})


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The user's own variables; the workflow's are nothing to a command of theirs."""
    return {name: text for name, text in variables.items() if not name.startswith("RATCHET_")}


# ------------------------------------------------------------------------ checks

_SHELLS = {"sh", "bash", "dash", "zsh", "ksh", "fish", "ash"}


def fault(command: Sequence[str] | None) -> str | None:
    """What is wrong with a command, in words; ``None`` if nothing is.

    A message in the text of a shell's script would be run by that shell.
    """
    given = list(command or ())
    for place, word in enumerate(given):
        if PurePath(word).name not in _SHELLS:
            continue
        for flag, script in zip(given[place + 1 :], given[place + 2 :], strict=False):
            if re.fullmatch(r"-[a-zA-Z]*c[a-zA-Z]*", flag) and "{message}" in script:
                return (
                    "expected no {message} within a shell's script, since programs write parts of "
                    f'it; found {script!r:.60}; use "$1" there and add the words {word}, '
                    "{message}, or read standard input"
                )
    return None


@contextlib.contextmanager
def watching(config: Config, paths: SessionPaths, owner: bool) -> Iterator[None]:
    """While frozen inputs are checked: whoever is to be told hears of a changed one."""
    if owner and config.notify_command is not None:
        program = config.notify_command[0]
        if program != "python" and shutil.which(program) is None:
            print(
                f"ratchet: notify_command: no program {program!r} here; nobody will be told",
                file=sys.stderr,
            )
    try:
        yield
    except FixedInputChangedError as error:
        if owner and paths.events.exists():
            failed(Journal(paths.events, Notifier(config, paths)), START, error)
        raise


def failed(journal: Journal, step: str, error: Exception) -> None:
    """Note that a step failed, and tell of it; the disk may be why, so nothing is raised."""
    facts = {"error": type(error).__name__, "message": f"{error}"[:LONGEST_REASON]}
    try:
        journal.append("failed", step=step, **facts)
    except OSError:
        journal.tell(journal.line("failed", step=step, **facts))
