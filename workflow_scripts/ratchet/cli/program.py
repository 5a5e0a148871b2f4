"""ratchet program: write, check and update the brief of a task.

    ratchet program new              # program.md of the configured task
    ratchet program check tasks/bytelm/program.md
    ratchet program update           # program-v2.md, with the session's log

new writes what a brief needs from task.yaml and the configuration; where the
session has run, with its baseline and all that was tried.  check compares a
brief with them and names, by line, what is missing or contradictory.  update
writes a session's findings into a new version beside the brief that it started
from, which is frozen.

Exit codes: 0 written, or nothing found; 1 findings; 64 usage, 65 data, 66 no
input, 70 internal error, 74 output.
"""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

from ratchet.base.errors import InputMissingError, UsageError
from ratchet.base.io import read_text
from ratchet.base.structs import asdict
from ratchet.base.text import one_line, plural
from ratchet.cli.main import CommandParser, make_command, print_json, tell, write_output
from ratchet.cli.sessions import (
    add_options,
    add_session,
    bare_name,
    chosen_session,
    harness_folder,
    read_settings,
    session_of,
    task_of,
)
from ratchet.config import Config
from ratchet.proposers.program_md import (
    PastSession,
    ProgramContract,
    budget_of,
    check_program,
    contract_of,
    next_version,
    past_session,
    render_program,
)
from ratchet.records.history import History
from ratchet.records.paths import SessionPaths
from ratchet.task.repository import named_task
from ratchet.task.task import BRIEF

NAME = "ratchet program"
EXIT_FINDINGS = 1
_NEW, _CHECK = "write a brief from the task", "compare a brief with its task"
_UPDATE = "write a session's log into a new version"
_VERSION = re.compile(r"(?P<stem>.*?)(?:-v(?P<number>\d+))?")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    commands = parser.add_subparsers(dest="action", metavar="new|check|update", required=True)
    new = commands.add_parser("new", help=_NEW, description=_NEW)
    new.add_argument("--output", type=Path, help="file to write (default: the task's brief)")
    checked = commands.add_parser("check", help=_CHECK, description=_CHECK)
    checked.add_argument(
        "file", nargs="?", type=bare_name, help="a file, or a session (default: the task's brief)"
    )
    checked.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    checked.add_argument("-q", "--quiet", action="store_true", help="no sum on standard error")
    updated = commands.add_parser("update", help=_UPDATE, description=_UPDATE)
    updated.add_argument("--output", type=Path, help="file to write (default: the next version)")
    updated.add_argument("--print", action="store_true", help="to standard output instead")
    for one in (new, updated):
        one.add_argument("--force", action="store_true", help="overwrite a file that is there")
    add_options(new, named=True)
    add_options(checked)
    add_session(updated)
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> int:
    actions = {"new": _new, "check": _check, "update": _update}
    return actions[options.action](options)


def _check(options: argparse.Namespace) -> int:
    word: str | None = options.file
    if word is not None and not Path(word).exists() and (options.root / "results" / word).is_dir():
        options.config, word = [*options.config, f"session={json.dumps(word)}"], None
    _, contract, brief = _contract(options)
    path = brief if word is None else Path(word)
    text = read_text(path)
    findings = check_program(text, contract)
    if options.json:
        fields = [{**asdict(finding), "flaw": finding.flaw.value} for finding in findings]
        print_json({"file": str(path), "clean": not findings, "findings": fields})
        return EXIT_FINDINGS if findings else 0
    for finding in findings:
        print(one_line(f"{path}:{finding.line}: {finding}"))
    if not options.quiet:
        count = plural(len(findings), "finding") if findings else "nothing to mend"
        tell(NAME, f"{path}: {count}")
    return EXIT_FINDINGS if findings else 0


def _contract(options: argparse.Namespace) -> tuple[Config, ProgramContract, Path]:
    """The configuration, what its task wants to be said, and where its brief lies."""
    chosen = read_settings(options.root, options.config)
    task = task_of(chosen, options.root)
    brief = task.folder / (task.brief or BRIEF)
    return chosen, contract_of(task, chosen, budget_of(task, chosen)), brief


def _new(options: argparse.Namespace) -> int:
    chosen, contract, brief = _contract(options)
    path: Path = options.output or brief
    # A session that has begun goes on only with the brief that it started with.
    begun = SessionPaths(chosen.session, options.root).manifest
    if begun.is_file() and path.resolve() == brief.resolve():
        raise UsageError(
            f"{path}: session {chosen.session!r} has begun with it, and it is frozen; write a new "
            "version with: ratchet program update"
        )
    if path.exists() and not options.force:
        raise UsageError(
            f"{path}: exists and is not overwritten; look at it with: ratchet program check "
            f"{path}; write elsewhere with --output, or overwrite it with --force"
        )
    write_output(path, render_program(contract, _past(options)))
    tell(NAME, f"wrote {path}")
    return 0


def _past(options: argparse.Namespace) -> PastSession | None:
    """Findings of the configured session, if it has begun."""
    try:
        session = session_of(None, options.root, options.config)
    except InputMissingError:
        return None
    return past_session(session, History.read(session.paths))


def _update(options: argparse.Namespace) -> int:
    session = chosen_session(options)
    text = next_version(session, History.read(session.paths))
    if not session.paths.confirmation.is_file():
        tell(NAME, f"note: session {session.config.session!r} is not at its end")
    if options.print:
        print(text, end="")
        return 0
    named = session.manifest.frozen["task"]
    told = named_task(named, options.root, harness_folder(options.root))
    # Next versions of a repository's brief lie beside the results.
    brief = Path(session.manifest.brief.path)
    frozen = told.folder / brief if session.manifest.origin is None else options.root / brief.name
    path = options.output or _next_name(frozen, text)
    if path.resolve() == frozen.resolve():
        raise UsageError(f"{path}: is the brief of the session and frozen; choose another --output")
    if path.exists() and path.read_text(errors="replace") == text:
        tell(NAME, f"{path} holds this version already")
        return 0
    if path.exists() and not options.force:
        raise UsageError(
            f"{path}: exists; write elsewhere with --output, or overwrite it with --force"
        )
    write_output(path, text)
    tell(
        NAME,
        f"wrote {path}; read it, change it, and let the next session start from it: set "
        f"`brief: {path.name}` in {told.definition}",
    )
    return 0


def _next_name(frozen: Path, text: str) -> Path:
    """``program-v2.md`` for ``program.md``; the first version that is free, or holds the text."""
    match = _VERSION.fullmatch(frozen.stem)
    assert match is not None
    number = int(match["number"] or 1)
    while True:
        number += 1
        path = frozen.with_name(f"{match['stem']}-v{number}{frozen.suffix}")
        if not path.exists() or path.read_text(errors="replace") == text:
            return path


main = make_command(NAME, _parse, _run)
