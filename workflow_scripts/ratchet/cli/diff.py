"""ratchet diff: how the code of two experiments differs.

    ratchet diff 0 7          # the baseline and experiment 7
    ratchet diff 3 7 --session night

Exit codes: 0, or 64 usage, 65 data, 66 no session, 70 internal error.
"""

import argparse
from collections.abc import Iterator, Sequence

from ratchet.base.terminal import CYAN, GREEN, RED, coloured, use_colour
from ratchet.base.text import clean_text, plural
from ratchet.cli.main import CommandParser, make_command, print_json, tell
from ratchet.cli.sessions import add_session, chosen_session, trial_of
from ratchet.proposers.declared import unified_diff
from ratchet.records.history import History

NAME = "ratchet diff"
_COLOURS = {"+": GREEN, "-": RED, "@": CYAN}


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    parser.add_argument("old", type=int, help="number of an experiment; 0 is the baseline")
    parser.add_argument("new", type=int, help="number of another one")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    add_session(parser, positional=False)
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> int:
    session = chosen_session(options)
    history = History.read(session.paths)
    old, new = (trial_of(session, history, n) for n in (options.old, options.new))
    text, added, removed = unified_diff(session.texts(old.files), session.texts(new.files))
    shown = clean_text(text.encode("utf-8", errors="replace").decode())
    if options.json:
        fields = {"old": old.number, "new": new.number, "added": added, "removed": removed}
        print_json({**fields, "diff": shown})
        return 0
    for line in diff_lines(shown, use_colour()):
        print(line)
    tell(
        NAME, f"from {old.number} to {new.number}: {plural(added, 'line')} added, {removed} removed"
    )
    return 0


def diff_lines(text: str, colour: bool) -> Iterator[str]:
    """Lines of a diff, in the colours of their kinds."""
    for line in text.splitlines():
        yield coloured(line, _COLOURS.get(line[:1]) if colour else None)


main = make_command(NAME, _parse, _run)
