"""ratchet diff: how the code of two experiments differs.

    ratchet diff 0 7          # the baseline and experiment 7
    ratchet diff 3 7 night

Exit codes: 0, or 64 usage, 65 data, 66 no session, 70 internal error.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ratchet.base.terminal import CYAN, GREEN, RED, coloured, use_colour
from ratchet.base.text import clean_text, plural
from ratchet.cli.main import CommandParser, make_command, print_json, tell
from ratchet.cli.sessions import add_numbers, chosen_session, take_numbers, trial_of
from ratchet.proposers.declared import unified_diff
from ratchet.records.history import History
from ratchet.session import Session

NAME = "ratchet diff"
_COLOURS = {"+": GREEN, "-": RED, "@": CYAN}


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    add_numbers(parser, "two experiments (default: baseline and the best one), and a session")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> int:
    numbers = take_numbers(options, (0, 2))
    session = chosen_session(options)
    history = History.read(session.paths)
    old, new = numbers or (0, history.state.incumbent.number)
    facts = diff_facts(session, history, old, new)
    if options.json:
        print_json(facts)
        return 0
    for line in diff_lines(facts["diff"], use_colour()):
        print(line)
    tell(NAME, diff_sum(facts))
    return 0


def diff_facts(session: Session, history: History, old: int, new: int) -> dict[str, Any]:
    """The diff between two experiments, cleaned, with its size."""
    files = [session.texts(trial_of(session, history, number).files) for number in (old, new)]
    text, added, removed = unified_diff(*files)
    shown = clean_text(text.encode("utf-8", errors="replace").decode())
    return {"old": old, "new": new, "added": added, "removed": removed, "diff": shown}


def diff_sum(facts: Mapping[str, Any]) -> str:
    """Size of a diff in words."""
    more, less = plural(facts["added"], "line"), facts["removed"]
    return f"from {facts['old']} to {facts['new']}: {more} added, {less} removed"


def diff_lines(text: str, colour: bool) -> Iterator[str]:
    """Lines of a diff, in the colours of their kinds."""
    for line in text.splitlines():
        yield coloured(line, _COLOURS.get(line[:1]) if colour else None)


main = make_command(NAME, _parse, _run)
