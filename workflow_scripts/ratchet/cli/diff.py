"""ratchet diff: how the code of two experiments differs.

    ratchet diff 0 7          # the baseline and experiment 7
    ratchet diff 3 7 night
    ratchet diff monday:12 tuesday:7
    ratchet diff monday tuesday          # the best of each

A session is named, or its folder is given: ../other/results/night:7.

Exit codes: 0, or 64 usage, 65 data, 66 no session, 70 internal error.
"""

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ratchet.base.errors import UsageError
from ratchet.base.terminal import CYAN, GREEN, RED, coloured, use_colour
from ratchet.base.text import clean_text, plural
from ratchet.cli.main import CommandParser, make_command, print_json, tell
from ratchet.cli.sessions import add_session, bare_name, place_of, session_of, trial_of
from ratchet.proposers.declared import unified_diff
from ratchet.records.history import History
from ratchet.session import Session

NAME = "ratchet diff"
_COLOURS = {"+": GREEN, "-": RED, "@": CYAN}


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    parser.add_argument(
        "what",
        nargs="*",
        metavar="NUMBER|SESSION|SESSION:NUMBER",
        type=bare_name,
        help="two experiments (default: baseline and the best one), and a session",
    )
    add_session(parser, positional=False)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> int:
    old, new = (_version(side, options) for side in choose_sides(options.what, options.session))
    facts = diff_facts(old, new)
    if options.json:
        print_json(facts)
        return 0
    for line in diff_lines(facts["diff"], use_colour()):
        print(line)
    tell(NAME, diff_sum(facts))
    return 0


class Side(NamedTuple):
    """One side of a diff: a session (``None`` for the configured one) and a number in it.

    Without a number it is the best experiment.
    """

    session: str | None
    number: int | None


_SIDE = re.compile(r"(?P<session>.+):(?P<number>[0-9]{1,9})", re.ASCII | re.DOTALL)


def choose_sides(words: Sequence[str], named: str | None = None) -> tuple[Side, Side]:
    """The two sides that a command line names; ``named`` is its ``--session``.

    Numbers are experiments of the one session that is named, ``SESSION:NUMBER`` one of
    another; a name in place of an experiment is that session's best one.  Raises
    :class:`UsageError`.
    """
    parts = [_part(word) for word in words]
    if len(parts) == 2 and not named and not any(isinstance(part, int) for part in parts):
        one, other = (part if isinstance(part, Side) else Side(str(part), None) for part in parts)
        return one, other
    names = [*([named] if named else []), *(part for part in parts if isinstance(part, str))]
    sides = [part for part in parts if not isinstance(part, str)]
    if len(names) > 1 or len(sides) not in (0, 2):
        raise UsageError(
            "expected two experiments, each a number or SESSION:NUMBER, and at most one session, "
            f"found {' '.join([*words, *([named] if named else [])])}"
        )
    session = names[0] if names else None
    if not sides:
        return Side(session, 0), Side(session, None)
    one, other = (part if isinstance(part, Side) else Side(session, part) for part in sides)
    return one, other


def _part(word: str) -> Side | int | str:
    """A word of the command line: an experiment of a named session, a number, or a name."""
    if match := _SIDE.fullmatch(word):
        return Side(match["session"], int(match["number"]))
    return int(word) if re.fullmatch("[0-9]{1,9}", word) else word


class Version(NamedTuple):
    """An experiment of a session, with its mutable files as text."""

    session: Session
    number: int
    files: Mapping[str, str]

    @classmethod
    def of(cls, session: Session, history: History, number: int | None) -> "Version":
        """An experiment by its number; without one the best."""
        number = history.state.incumbent.number if number is None else number
        return cls(session, number, session.texts(trial_of(session, history, number).files))


def _version(side: Side, options: argparse.Namespace) -> Version:
    name, root = side.session, options.root
    if name is not None:
        name, root = place_of(name, root)
    session = session_of(name, root, options.config)
    return Version.of(session, History.read(session.paths), side.number)


def diff_facts(old: Version, new: Version) -> dict[str, Any]:
    """The diff between two experiments, cleaned, with its size."""
    text, added, removed = unified_diff(old.files, new.files)
    shown = clean_text(text.encode("utf-8", errors="replace").decode())
    facts: dict[str, Any] = {"old": old.number, "new": new.number}
    if old.session.paths != new.session.paths:
        facts["old_session"] = old.session.manifest.session
        facts["new_session"] = new.session.manifest.session
    return {**facts, "added": added, "removed": removed, "diff": shown}


def diff_sum(facts: Mapping[str, Any]) -> str:
    """Size of a diff in words."""
    more, less = plural(facts["added"], "line"), facts["removed"]
    old, new = (
        f"{facts[f'{side}_session']}:{facts[side]}" if f"{side}_session" in facts else facts[side]
        for side in ("old", "new")
    )
    return f"from {old} to {new}: {more} added, {less} removed"


def diff_lines(text: str, colour: bool) -> Iterator[str]:
    """Lines of a diff, in the colours of their kinds."""
    for line in text.splitlines():
        yield coloured(line, _COLOURS.get(line[:1]) if colour else None)


main = make_command(NAME, _parse, _run)
