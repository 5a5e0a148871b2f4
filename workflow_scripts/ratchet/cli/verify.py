"""ratchet verify: is everything still what it was when it was recorded?

    ratchet verify
    ratchet verify night --json

Re-hashes the store, the session's own files against their seal, its inputs in
the checkout and its git history.  Every deviation is one line on standard
output: what was expected, what was found, and what to do; notes and the sum are
on standard error.  Nothing is changed.  Intact means that the bytes are those
that were recorded, and says nothing on whether a gain is real: the report does.

Exit codes: 0 intact; 1 deviations; 64 usage, 66 no such session, 70 internal
error.
"""

import argparse
from collections.abc import Sequence

from ratchet.base.structs import asdict
from ratchet.base.terminal import signs_of_life
from ratchet.base.text import one_line, plural
from ratchet.cli.main import CommandParser, make_command, print_json, spelled, tell
from ratchet.cli.sessions import add_root, bare_name
from ratchet.integrity.verify import verify_sessions

NAME = "ratchet verify"
EXIT_DEVIATIONS = 1
SCOPE = "this is about bytes; whether a gain is real is what the report says"
"""What the answer is about: a session with a cheat in it is intact too."""


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    add = parser.add_argument
    add("session", nargs="?", type=bare_name, help="name of the session (default: every one)")
    add_root(parser)
    add("--json", action="store_true", help="one JSON object instead of lines")
    add("-q", "--quiet", action="store_true", help="no notes and no sum")
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> int:
    with signs_of_life(NAME, "hashing"):
        findings = verify_sessions(options.root, [options.session] if options.session else [])
    deviations = findings.deviations
    if options.json:
        print_json(
            {
                "intact": not deviations,
                "checked": findings.checked,
                "deviations": [asdict(deviation) for deviation in deviations],
                "notes": findings.notes,
                "scope": SCOPE,
            }
        )
    else:
        for deviation in deviations:
            print(one_line(spelled(str(deviation))))
    if not options.quiet:
        for note in findings.notes:
            tell(NAME, f"note: {note}")
        what = plural(len(deviations), "deviation") if deviations else "intact"
        tell(NAME, f"{what}, {plural(findings.checked, 'file')} checked: {SCOPE}")
    return EXIT_DEVIATIONS if deviations else 0


main = make_command(NAME, _parse, _run)
