"""ratchet space: the ranges of constants that an optimiser searches.

    ratchet space                     # of the configured task
    ratchet space night               # of the incumbent of a session
    ratchet space --task tasks/gpt
    ratchet space train.py config.yaml

Prints the ranges that the task declares, or else those derived from its code,
as YAML for the key search_space of a task.yaml, with the value that each
constant has now.  Nothing is changed.

Exit codes: 0, or 64 usage or settings, 65 data, 66 no input, 70 internal error.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from ratchet.base.errors import UsageError
from ratchet.base.io import read_text
from ratchet.base.structs import Frozen
from ratchet.base.terminal import wrap_text
from ratchet.base.text import one_line
from ratchet.cli.main import CommandParser, make_command, print_json, tell
from ratchet.cli.sessions import (
    add_options,
    harness_folder,
    read_settings,
    session_of,
    task_of,
)
from ratchet.proposers.space import (
    Point,
    Space,
    declared_ranges,
    derived_constants,
    space_entries,
    task_space,
)
from ratchet.records.history import History
from ratchet.records.paths import SessionPaths
from ratchet.task.edits import DECLARING
from ratchet.task.presets import check_constants
from ratchet.task.repository import find_task
from ratchet.task.sources import JSON_SUFFIX, YAML_SUFFIXES
from ratchet.task.task import Task

NAME = "ratchet space"

SUFFIXES = (".py", JSON_SUFFIX, *YAML_SUFFIXES, *DECLARING)
"""Ends of the names of files whose constants can be found."""


class Shown(Frozen):
    """A space, whether a task declares it, whose it is, and the values in these files."""

    space: Space
    declared: bool
    whose: str
    files: Sequence[str]
    point: Point


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    parser.add_argument(
        "of",
        nargs="*",
        metavar="SESSION|FILE",
        help="a session, or Python, YAML or JSON files (default: the configured task)",
    )
    parser.add_argument("--task", metavar="PATH", help="folder of a task, or {repo: CLONE}")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    add_options(parser)
    options = parser.parse_args(argv)
    if options.of and options.task is not None:
        raise UsageError(f"expected --task or {' '.join(options.of)}, found both")
    return options


def _run(options: argparse.Namespace) -> int:
    files = [Path(name) for name in options.of if Path(name).suffix in SUFFIXES]
    if files and len(files) == len(options.of):
        shown = _of_files(files)
    elif len(options.of) == 1:
        shown = _of_session(options.of[0], options)
    elif options.of:
        raise UsageError(
            f"expected one session, or files that end with {', '.join(SUFFIXES)}, found "
            f"{' '.join(options.of)}"
        )
    else:
        shown = _of_task(_task(options))
    missing = [each.name for each in shown.space.constants if each.name not in shown.point]
    if options.json:
        entries = zip(space_entries(shown.space), shown.space.names, strict=True)
        values = [{**entry, "value": shown.point.get(name)} for entry, name in entries]
        about = {"declared": shown.declared, "of": shown.whose, "files": list(shown.files)}
        print_json({**about, "search_space": values})
        return 0
    kind = "Declared by" if shown.declared else "Derived from the code of"
    for line in wrap_text(
        f"{kind} {shown.whose}; each comment is the value now.", first="# ", rest="# "
    ):
        print(line)
    print(space_text(shown.space, shown.point), end="")
    if not shown.space.constants:
        tell(NAME, "no constant of these files is a number or a switch that has a name")
    if missing:
        tell(NAME, f"not set once in {', '.join(shown.files)}: {', '.join(missing)}")
    return 0


def _of_files(paths: Sequence[Path]) -> Shown:
    names = [str(path) for path in paths]
    contents = {name: read_text(path) for name, path in zip(names, paths, strict=True)}
    return _shown(Space(derived_constants(contents)), False, ", ".join(names), contents)


def _of_task(task: Task) -> Shown:
    check_constants(task)
    names = [name for name in task.mutable if Path(name).suffix in SUFFIXES]
    contents = {name: read_text(task.folder / name) for name in names}
    declared = bool(declared_ranges(task))
    return _shown(task_space(task, contents), declared, f"task {task.name}", contents)


def _of_session(name: str, options: argparse.Namespace) -> Shown:
    """The space of a session, with the values of its incumbent."""
    session = session_of(name, options.root, options.config)
    history = History.read(session.paths)
    space = task_space(session.task, session.texts(history.start.files))
    contents = session.texts(history.state.incumbent.files)
    whose = f"task {session.task.name}, in session {session.config.session}"
    return _shown(space, bool(declared_ranges(session.task)), whose, contents)


def _task(options: argparse.Namespace) -> Task:
    """The task that the options or the configuration name."""
    if options.task is None:
        return task_of(read_settings(options.root, options.config), options.root)
    settings = read_settings(options.root, [*options.config, f"task={options.task}"])
    store = SessionPaths(settings.session, options.root).store
    return find_task(settings.task, options.root, harness_folder(options.root), store)


def _shown(space: Space, declared: bool, whose: str, contents: Mapping[str, str]) -> Shown:
    return Shown(space, declared, one_line(whose), list(contents), space.point(contents))


def space_text(space: Space, point: Point) -> str:
    """A space as the key ``search_space``, with the values of a point as comments."""
    import yaml

    lines = [] if space.constants else ["search_space: []"]
    if space.constants:
        lines = ["search_space:"]
    for name, entry in zip(space.names, space_entries(space), strict=True):
        text = yaml.safe_dump(entry, sort_keys=False, allow_unicode=True, default_flow_style=None)
        first, *rest = text.splitlines()
        now = f"  # {one_line(repr(point[name]))}" if name in point else ""
        lines += [f"  - {first}{now}", *(f"    {line}" for line in rest)]
    return "\n".join(lines) + "\n"


main = make_command(NAME, _parse, _run)
