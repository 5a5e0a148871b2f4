"""ratchet init: a session of any training script in two commands.

    ratchet init                 # in a folder with a training script; asks
    ratchet init --yes           # takes what it finds
    ratchet init ~/model --command 'python train.py --epochs 3' --metric val_acc

Finds the command (README.md, program.md, pyproject.toml, Makefile, names of
scripts), the interpreter with its packages, and the files that the script
needs. Runs it twice in the sandbox of sessions, with two seeds, and reads from
what it prints the metric, its direction, memory and steps, and whether the
seed has an effect. Writes task.yaml, and program.md where there is none,
and says what to type next. Nothing else in the folder is changed.

The sandbox has no network, unless the script fails without: with --yes it gets
it then, and that is said. Outside of the sandbox are a Python in the folder
(.venv), which is asked for its packages, and uv sync of a project of uv: use
a folder that you would install.

Exit codes: 0 written; 64 usage, 65 data, 66 no input, 70 internal error, 74
output.
"""

import argparse
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.errors import DataError, InputMissingError, RatchetError, UsageError
from ratchet.base.schema import parse_yaml
from ratchet.base.structs import Frozen, replace
from ratchet.base.terminal import wrap_text
from ratchet.base.text import one_line, plural
from ratchet.cli.init_runs import NAME, Asking, Draft, Finding, Probe, shown
from ratchet.cli.main import (
    CommandParser,
    check_positive,
    make_command,
    print_json,
    tell,
    write_output,
)
from ratchet.cli.sessions import harness_folder, read_settings
from ratchet.cli.space import space_text
from ratchet.config import Config, setting
from ratchet.proposers.program_md import budget_of, contract_of, render_program
from ratchet.proposers.space import task_space
from ratchet.records.paths import SessionPaths, StorePaths
from ratchet.records.records import Direction
from ratchet.task.discover import (
    MOST_OF_FOLDER,
    Command,
    Folder,
    find_commands,
    find_mutable,
    home_caches,
    imported_packages,
    needed_files,
    without_defaults,
)
from ratchet.task.environment import ask_interpreter, interpreter_program, package_deviations
from ratchet.task.repository import command_files, complete_values, find_task, plain_name
from ratchet.task.task import BRIEF, DEFINITION, build_task, check_values

SECONDS = 600.0
"""Wall-clock limit of each run of the script: twice karpathy/autoresearch's five minutes."""

COPIED_BYTES = 16 << 20
"""Files of one folder that are copied for each run; a folder of more is mounted (``cache``)."""


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    add = parser.add_argument
    add("path", nargs="?", type=Path, default=Path(), help="folder of the script (default: here)")
    add("-y", "--yes", action="store_true", help="take what is found, and ask nothing")
    add("--command", metavar="WORDS", help="command of one run, such as 'python train.py'")
    add("--mutable", nargs="+", metavar="FILE", help="files that experiments may change")
    add("--fixed", nargs="+", metavar="FILE", help="files that it needs besides (default: found)")
    add("--python", metavar="PLACE", help="environment (its folder) or interpreter of the script")
    add("--metric", metavar="NAME", help="printed name of the number that decides")
    add("--direction", choices=[each.value for each in Direction], help="which way is better")
    add("--seed", metavar="WAY", help="how it gets its seed: a value of the key seed; runs it once")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--budget-seconds", type=float, metavar="S", help="training time of a run")
    budget.add_argument("--budget-steps", type=int, metavar="N", help="training steps of a run")
    add("--seconds", type=float, default=SECONDS, help="limit of each run made now (default 600)")
    add("--session", metavar="NAME", help="session that is started next (default: the folder's)")
    add("--root", type=Path, help="folder with results and store (default: Ratchet's checkout)")
    add(
        "--config",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings of the session that is started next",
    )
    add("--force", action="store_true", help="overwrite a task.yaml that is there")
    add("--json", action="store_true", help="what was found as one JSON object")
    options = parser.parse_args(argv)
    for name in ("seconds", "budget_seconds", "budget_steps"):
        check_positive(f"--{name.replace('_', '-')}", getattr(options, name))
    if options.seed is not None:
        options.seed = parse_yaml(options.seed.encode(), "--seed")
    return options


def _asking(options: argparse.Namespace) -> Asking:
    """Questions as the options and the terminal allow them; refuses to guess unasked."""
    open_ = [
        n for n in ("command", "mutable", "metric", "direction") if getattr(options, n) is None
    ]
    if not open_ or options.yes:
        return Asking(True)
    if not sys.stdin.isatty():
        missing = ", ".join(f"--{name}" for name in open_)
        raise UsageError(
            "standard input is no terminal to ask at: add --yes to take what is found, or give "
            f"{missing}"
        )
    return Asking(False)


def _check_options(options: argparse.Namespace) -> None:
    """Refuse values that no ``task.yaml`` may have, before anything is run."""
    given = {"mutable": options.mutable, "fixed": options.fixed, "seed": options.seed}
    values = {key: value for key, value in given.items() if value is not None}
    metric = {"name": "none", "direction": Direction.MINIMIZE.value}
    check_values({"command": ["none"], "metric": metric, **values}, "options")


def _run(options: argparse.Namespace) -> int:
    path: Path = options.path.expanduser().resolve()
    if path.is_file():
        line = shlex.join(["ratchet", NAME.split()[1], str(options.path.parent)])
        raise UsageError(
            f"{path}: is a file, expected the folder of the script; type: {line} --command "
            f"{shlex.quote(shlex.join(['python', path.name]))}"
        )
    if not path.is_dir():
        raise InputMissingError(f"{path}: expected a folder with a training script, found none")
    harness = harness_folder(Path()).resolve()
    root: Path = harness if options.root is None else options.root.expanduser().resolve()
    if not root.is_dir():
        raise InputMissingError(f"--root: {root}: expected a folder, found none; make it first")
    if (path / DEFINITION).exists() and not options.force:
        known = options.session or plain_name(path.name)
        start = _next_command(path, known, root, harness, options.config)
        raise UsageError(
            f"{path / DEFINITION}: exists; start a session of it with: {start}; or write it anew "
            "with --force"
        )
    _check_options(options)
    asking = _asking(options)
    session = _session_name(options.session or plain_name(path.name), root)
    settings = read_settings(root, [f"session={setting(session)}", *options.config])
    folder = Folder.read(path)
    draft = _interpreter(_command(folder, options, asking), options, asking, harness)

    def widened(draft: Draft) -> Draft:
        return _files(draft, options, everything=True)

    with tempfile.TemporaryDirectory(prefix="ratchet-init-") as name:
        probe = Probe(options, asking, settings, harness, Path(name).resolve(), widened)
        draft = probe.examined(_files(draft, options))
    draft = _lock(draft)
    command = _next_command(path, session, root, harness, options.config)
    draft = _written(draft, settings, root, harness)
    if options.json:
        about = [{"what": f.what, "value": f.value, "where": f.where} for f in draft.findings]
        print_json({"task": str(path / DEFINITION), "next": command, "found": about})
        return 0
    for line in _table(draft.findings):
        print(line)
    wrote = f"wrote {path / DEFINITION}; start the session, or go on with it later, with:"
    print("\n" + "\n".join(wrap_text(one_line(wrote))) + f"\n\n  {command}")
    return 0


def _table(findings: Sequence[Finding]) -> Iterator[str]:
    """Findings within 80 columns: what, value, and where it was found."""
    width = max(len(each.what) for each in findings) + 2
    rest = " " * width
    for each in findings:
        text = one_line(f"{each.value}  ({each.where})" if each.where else each.value)
        yield from wrap_text(text, first=each.what.ljust(width), rest=rest)


def _next_command(path: Path, session: str, root: Path, harness: Path, given: Sequence[str]) -> str:
    """What to type next, from the folder that the user is in."""
    own = Path(sys.executable).with_name("snakemake")
    known = shutil.which("snakemake")
    words = ["snakemake" if known is not None and own.samefile(known) else str(own)]
    if root != harness:
        words += ["-s", str(harness / "Snakefile")]
    named = any(each.startswith("session=") for each in given)
    own_name = [] if named else [f"session={setting(session)}"]
    words += ["--cores", "1", "--config", f"task={setting(str(path))}", *own_name, *given]
    there = "" if Path().resolve() == root else f"cd {shlex.quote(str(root))} && "
    return there + shlex.join(words)


def _session_name(wanted: str, root: Path) -> str:
    """A name that no session has, and that a command line does not read as a number."""
    if not isinstance(parse_yaml(wanted.encode(), "--session"), str):
        wanted = f"{wanted}-1"
    name, number = wanted, 1
    while SessionPaths(name, root).folder.exists():
        number += 1
        name = f"{wanted}-{number}"
    return name


def _command(folder: Folder, options: argparse.Namespace, asking: Asking) -> Draft:
    """The command, and the files that experiments may change."""
    if options.command is not None:
        try:
            words = shlex.split(options.command)
        except ValueError as error:
            raise UsageError(f"--command: expected words as a shell reads them: {error}") from None
        if any(sign in words for sign in ("&&", ";", "|", ">")):
            words = ["sh", "-c", options.command]
        found = [Command(tuple(words), "--command", 0.0)]
    else:
        found = [each for each in find_commands(folder.texts, folder.names) if each.score >= -1][:6]
        if not found:
            raise UsageError(
                f"{folder.path}: no command that trains stands in README.md, program.md, "
                "pyproject.toml or Makefile, and no script is called train.py or main.py; name it: "
                "ratchet init --command 'python SCRIPT'"
            )
    offered = [f"{shown(each.words)}  ({each.source})" for each in found]
    chosen = found[asking.choose("which command trains", offered)]
    needed = _needed(folder, chosen)
    mutable, why = find_mutable(chosen, needed, folder.texts)
    if options.mutable is not None:
        mutable, why = list(options.mutable), "--mutable"
    elif mutable:

        def fault(said: str) -> str:
            with contextlib.suppress(ValueError):  # a quote without its other
                wrong = [name for name in shlex.split(said) if name not in folder.names]
                return f"{folder.path} has no file {wrong[0]}" if wrong else ""
            return "expected names of files as a shell reads them"

        said = asking.words("files that experiments may change", shlex.join(mutable), fault)
        mutable = shlex.split(said)
    if not mutable:
        raise UsageError(
            f"the command {shown(chosen.words)} names no source of {folder.path}; correct "
            "--command, or name the files that experiments may change with --mutable"
        )
    for name in (*mutable, *(options.fixed or ())):
        if not (folder.path / name).is_file() and not name.endswith("/"):
            raise InputMissingError(f"{folder.path / name}: expected a file, found none")
    words = list(chosen.words)
    if options.command is None:
        words = without_defaults(words, mutable[0], folder.texts.get(mutable[0], ""))
    values: dict[str, Any] = {"command": words, "mutable": mutable}
    if chosen.variables:
        values["variables"] = dict(chosen.variables)
    values["metric"] = {"name": "none", "direction": "minimize"}
    draft = Draft(folder, values).found("command", shown(words), chosen.source)
    return draft.found("mutable", ", ".join(mutable), why)


def _needed(folder: Folder, command: Command) -> list[str]:
    """Files that the command names, and those that these name."""
    start = command_files(command.words, folder.names.__contains__)
    start += [command.script] if command.script else []
    if "make" in " ".join(command.words):
        start += [name for name in ("Makefile", "makefile") if name in folder.names]
    for word in command.words:  # a line of a shell
        start += [w for w in word.split() if w in folder.names]
    return needed_files(start, folder.texts, folder.names)


def _files(draft: Draft, options: argparse.Namespace, everything: bool = False) -> Draft:
    """The fixed files, and folders that are mounted since they are large."""
    folder, mutable = draft.folder, draft.values["mutable"]
    start = [*mutable, *_needed(folder, Command(tuple(draft.values["command"]), "", 0.0))]
    needed = needed_files(start, folder.texts, folder.names)
    where = "what the files name"
    if everything:
        needed, where = sorted(folder.names), "all files, since it fails without them"
        needed = [name for name in needed if not name.lower().endswith((".md", ".rst"))]
    if options.fixed is not None:
        needed, where = list(options.fixed), "--fixed"
    fixed = [name for name in needed if name not in mutable and name != BRIEF]
    sizes: dict[str, int] = {}
    for name in fixed:
        top = name.partition("/")[0]
        if "/" in name and not any(each.startswith(f"{top}/") for each in mutable):
            sizes[top] = sizes.get(top, 0) + (0 if name.endswith("/") else folder.size(name))
    tops = [name.partition("/")[0] for name in fixed]
    many = {top for top in sizes if tops.count(top) >= MOST_OF_FOLDER}
    large = [top for top, size in sizes.items() if size > COPIED_BYTES or top in many]
    fixed = [name for name in fixed if name.partition("/")[0] not in large]
    read = {name: folder.texts.get(name, "") for name in (*mutable, *fixed)}
    homes = [name for name in home_caches(read, read) if Path(name).expanduser().is_dir()]
    findings = tuple(f for f in draft.findings if f.what not in ("fixed", "cache"))
    draft = replace(draft, findings=findings).having(fixed=fixed, cache=[*large, *homes] or None)
    if fixed:
        some = fixed if len(fixed) <= 6 else [*fixed[:5], f"{len(fixed) - 5} more"]
        draft = draft.found("fixed", ", ".join(some), where)
    if large or homes:
        where = "large folders" if large else ""
        where += (" and " if large and homes else "") + ("folders that it names" if homes else "")
        draft = draft.found("cache", ", ".join([*large, *homes]), f"{where}; runs read all of it")
    return draft


_MISSING = """
import importlib.util, json, sys
def has(name):
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
print(json.dumps([name for name in sys.argv[1:] if not has(name)]))
"""


def _missing(program: Path, names: Sequence[str]) -> list[str]:
    """Packages of these names that an interpreter does not have; all where it does not answer."""
    if not names:
        return []
    try:
        done = subprocess.run(
            [str(program), "-I", "-c", _MISSING, *names],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=True,
        )
        return list(json.loads(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError):
        return list(names)


class Choice(Frozen):
    """An interpreter: the value of the key ``python``, its program, and where it was found."""

    value: str | None
    program: Path
    where: str


def _choices(folder: Path) -> Iterator[Choice]:
    """Interpreters that may be the script's: of its folder, of this shell, Ratchet's own."""
    for name in (".venv", "venv", "env"):
        if (folder / name / "bin" / "python").exists():
            yield Choice(name, folder / name / "bin" / "python", f"{name} in the folder")
    own = Path(sys.executable)
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        place = os.environ.get(variable)
        if place and Path(place).resolve() != Path(sys.prefix).resolve():
            yield Choice(place, Path(place) / "bin" / "python", f"${variable}")
    yield Choice(None, own, "Ratchet's own")
    for name in ("python3", "python"):
        path = shutil.which(name)
        if path is not None and Path(path).parent.resolve() != own.parent.resolve():
            yield Choice(path, Path(path), f"{name} of this shell")


def _interpreter(draft: Draft, options: argparse.Namespace, asking: Asking, harness: Path) -> Draft:
    """The interpreter: the first that has the packages which the script imports."""
    folder = draft.folder
    needed = _needed(folder, Command(tuple(draft.values["command"]), "", 0.0))
    needed = needed_files([*needed, *draft.values["mutable"]], folder.texts, folder.names)
    wanted = imported_packages(needed, folder.texts)
    if options.python is not None:
        place = Path(os.path.abspath(Path(options.python).expanduser()))  # noqa: PTH100
        program = interpreter_program(place, "correct --python")
        return _with_python(draft, Choice(str(program), program, "--python"), wanted)
    choices = [each for each in _choices(folder.path) if os.access(each.program, os.X_OK)]
    missing: dict[Path, list[str]] = {}
    for each in choices:
        missing[each.program] = _missing(each.program, wanted)
        if not missing[each.program]:
            break
    best = min(choices[: len(missing)], key=lambda each: len(missing[each.program]))
    if missing[best.program] and {"uv.lock", "pyproject.toml"} & folder.names:
        made = _synchronised(folder.path, asking, harness)
        best = made if made is not None else best
    return _with_python(draft, best, wanted)


def _with_python(draft: Draft, choice: Choice, wanted: Sequence[str]) -> Draft:
    interpreter = ask_interpreter(choice.program)
    missing = _missing(choice.program, wanted)
    if "wandb" in wanted:  # which asks for a login, or for the network
        variables = {"WANDB_MODE": "disabled", **draft.values.get("variables", {})}
        draft = draft.having(variables=variables).found("variables", "WANDB_MODE=disabled", "")
    value = f"Python {interpreter.version}"
    value += f" with {', '.join(wanted)}" if wanted and not missing else ""
    value += f" without {', '.join(missing)}" if missing else ""
    if choice.value is not None and not choice.value.startswith("."):
        value += f", {choice.value}"
    draft = replace(draft, interpreter=interpreter).having(python=choice.value)
    return draft.found("python", value, choice.where)


def _synchronised(folder: Path, asking: Asking, harness: Path) -> Choice | None:
    """The environment of a project of uv, made now if the user agrees."""
    own = harness / ".uv" / "bin" / "uv"
    uv = shutil.which("uv") or (str(own) if own.exists() else None)
    if uv is None or not asking.agrees(f"make its environment in {folder / '.venv'} with: uv sync"):
        return None
    words = [uv, "sync", *(["--frozen"] if (folder / "uv.lock").exists() else [])]
    line = shlex.join(["uv", *words[1:]])
    tell(NAME, f"making the environment: {line} (with the network, outside of the sandbox)")
    done = subprocess.run(
        words, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise DataError(
            f"{folder}: uv sync ended with status {done.returncode}, its reason is above; make the "
            "environment by hand, and name it with --python"
        )
    return Choice(".venv", folder / ".venv" / "bin" / "python", "made now by uv sync")


def _lock(draft: Draft) -> Draft:
    """With the folder's ``uv.lock`` where its environment is as that says."""
    assert draft.interpreter is not None
    lock, packages = draft.folder.path / "uv.lock", len(draft.interpreter.packages)
    stands = f"{plural(packages, 'package')} of the interpreter, by name and version"
    if not str(draft.values.get("python", "")).startswith(".") or not lock.is_file():
        return draft.found("environment", stands, "no lock is needed")
    try:
        wrong = package_deviations(lock, draft.interpreter)
    except DataError:
        wrong = ["it names no package"]
    if wrong:
        return draft.found("environment", stands, f"uv.lock is another: {wrong[0]}")
    return draft.having(environment="uv.lock").found("environment", "uv.lock", "as installed")


def _written(draft: Draft, settings: Config, root: Path, harness: Path) -> Draft:
    """The draft, written as task.yaml, with a program.md where there was none.

    Nothing is left of them if they do not make a task together.
    """
    path = draft.folder.path
    values = complete_values(draft.values, path, path.name, str(path / DEFINITION))
    values["brief"] = BRIEF
    task = build_task(values, path, harness, None, None, path)
    contents = {name: draft.folder.texts.get(name, "") for name in task.mutable}
    space, text = task_space(task, contents), _task_text(values)
    if space.constants:
        text += space_text(space, space.point(contents))
    brief = path / BRIEF
    made = not brief.exists()
    if made:
        write_output(brief, render_program(contract_of(task, settings, budget_of(task, settings))))
    definition = path / DEFINITION
    before = definition.read_bytes() if definition.exists() else None
    write_output(definition, text)
    try:
        find_task(str(path), root, harness, StorePaths(root / "store"))
    except RatchetError:
        if before is None:
            definition.unlink()
        else:
            definition.write_bytes(before)
        if made:
            brief.unlink()
        raise
    draft = draft.found("brief", BRIEF, "written now" if made else "in the folder")
    if space.constants:
        some = ", ".join(space.names[:6]) + (", ..." if len(space.names) > 6 else "")
        return draft.found("search space", some, "its constants, with ranges")
    return draft.found(
        "search space",
        "none, so that a session measures the baseline alone: add proposer=claude (an agent) to "
        "its command, or try your own edits with ratchet try",
        "no constant has a name",
    )


def _task_text(values: Mapping[str, Any]) -> str:
    """A task.yaml with the keys in the order of the documents."""
    import yaml

    order = (
        *("name", "command", "mutable", "fixed", "brief", "prepare", "python", "environment"),
        *("cache", "variables", "network", "device", "threads", "seed", "budget"),
        *("timeout_seconds", "metric", "memory", "constraints"),
    )
    lines = ["# Written by ratchet init; docs/tasks.md of Ratchet has all keys.\n"]
    for key in order:
        if values.get(key) not in (None, [], {}):
            one = {key: values[key]}
            flow = isinstance(values[key], list | tuple | dict)
            text = yaml.safe_dump(
                values[key] if flow else one,
                sort_keys=False,
                allow_unicode=True,
                default_flow_style=flow,
                width=90,
            )
            lines.append(f"{key}: {text}" if flow else text)
    return "".join(lines)


main = make_command(NAME, _parse, _run)
