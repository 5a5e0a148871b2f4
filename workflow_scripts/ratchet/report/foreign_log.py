"""What the report of somebody else's log is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from ratchet.cli.autosteer_log import Steered
from ratchet.cli.session import Experiments
from ratchet.codec import Frozen
from ratchet.judge import Replay


class SourceFile(Frozen):
    """A file that the report rests on, by its name without folders."""

    name: str
    bytes: int
    sha256: str


class Edit(Frozen):
    """What a commit changed in Python files: unified diff, lines, things changed."""

    diff: str
    added: int
    removed: int
    net_lines: int
    changes: int | None


class RunFile(Frozen):
    """The run log that was given; ``number`` is its row, ``None`` if it is of no row."""

    file: SourceFile
    text: str
    number: int | None


class LogSession(Frozen, dict=True):
    """A log with all that was made of it.

    ``edits`` are by the rows' numbers, ``None`` where no repository was given.  ``noise``
    says what the noise floor is from, ``guess`` where it was looked for, ``notes`` what
    was assumed.
    """

    file: SourceFile
    every: Experiments
    done: Replay
    steered: Steered
    mode: str
    noise: str
    guess: str = ""
    notes: Sequence[str] = ()
    run: RunFile | None = None
    edits: Mapping[int, Edit] | None = None

    @cached_property
    def categories(self) -> dict[int, str]:
        """Category by a row's number; none for the baseline and its further runs."""
        return {attempt.number: attempt.category for attempt in self.steered.attempts}
