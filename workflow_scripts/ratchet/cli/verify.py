"""``ratchet verify``: is everything still what it was when it was recorded?

    ratchet verify
    ratchet verify night --json

Re-hashes the store, the session's own files against their seal, its inputs in the
checkout and its git history.  Every deviation is one line on standard output: what
was expected, what was found, and what to do; notes and the sum are on standard
error.  Nothing is changed.

Exit codes: 0 intact, 1 deviations, 64 usage, 66 no such session, 70 internal.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ratchet.base.structs import asdict
from ratchet.base.text import one_line
from ratchet.cli.main import CommandParser, run_command
from ratchet.integrity.verify import Findings, verify_sessions

EXIT_DEVIATIONS = 1
_EPILOG = "exit codes: 0 intact; 1 deviations; 64 usage, 66 no such session, 70 internal error"


def main(argv: Sequence[str] | None = None) -> int:
    """Check and print; returns the exit code."""
    return run_command("ratchet verify", _run, argv)


def _run(argv: Sequence[str]) -> int:
    options = _parse(argv)
    findings = verify_sessions(options.root, [options.session] if options.session else [])
    if options.json:
        print(json.dumps(_fields(findings), indent=2, ensure_ascii=False))
    else:
        for deviation in findings.deviations:
            print(one_line(str(deviation)))
    if not options.quiet:
        for note in findings.notes:
            print(f"ratchet verify: note: {one_line(note)}", file=sys.stderr)
        print(f"ratchet verify: {_sum(findings)}", file=sys.stderr)
    return EXIT_DEVIATIONS if findings.deviations else 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="ratchet verify",
        description="Re-hash the store, a session's files, inputs and history.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("session", nargs="?", help="name of the session (default: every one)")
    add("--root", type=Path, default=Path(), help="folder with results and store (default: here)")
    add("--json", action="store_true", help="one JSON object instead of lines")
    add("-q", "--quiet", action="store_true", help="no notes and no sum")
    return parser.parse_args(argv)


def _fields(findings: Findings) -> dict[str, object]:
    return {
        "intact": not findings.deviations,
        "checked": findings.checked,
        "deviations": [asdict(deviation) for deviation in findings.deviations],
        "notes": findings.notes,
    }


def _sum(findings: Findings) -> str:
    count = len(findings.deviations)
    if not count:
        return f"intact, {findings.checked} files checked"
    return f"{count} deviation{'s' if count > 1 else ''}, {findings.checked} files checked"


if __name__ == "__main__":
    sys.exit(main())
