"""Facts of a training script that can be read in its folder, and in what it printed.

Command, files, packages, seeds and caches by the folder's texts; numbers with names by a log.
Everything here is text that anybody wrote, and nothing of it is run.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ratchet.base.errors import InputMissingError
from ratchet.base.structs import Frozen, field
from ratchet.base.text import clean_lines
from ratchet.task.edits import NOTEBOOK, constant_names, find_value
from ratchet.task.repository import command_files
from ratchet.task.sources import SourceError, parse_python, walk
from ratchet.task.task import BRIEF, DEFINITION, OWN, SET, search_patterns

MOST_FILES, MOST_OF_FOLDER = 20_000, 1_000
"""Names of files that are looked at, in all and in one folder: more are a data set."""

TEXT_BYTES = 400_000
"""Largest file that is read for names; larger ones are data."""

READ_BYTES = 64 << 20
"""Texts that are read in all, those at the top of the folder first."""

SKIPPED = frozenset(
    {"node_modules", "__pycache__", "venv", "env", "results", "store", "wandb", "mlruns", "runs"}
)
"""Folders without files of the script: packages, what was compiled, what runs left."""


class Folder(Frozen):
    """The user's folder: names of all its files, and texts of those that hold text."""

    path: Path
    names: frozenset[str]
    texts: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> Folder:
        """Its files; hidden ones and what runs leave are left out, as is most of a data set.

        A link that leads out of the folder is left out too: a stranger's could name any file
        of the user, and what a run reads it can print or send.
        """
        names: list[str] = []
        for place, folders, files in os.walk(path):
            folders[:] = sorted(name for name in folders if _is_of_script(name))
            here = Path(place).relative_to(path)
            own = [name for name in sorted(files) if _is_of_script(name)][:MOST_OF_FOLDER]
            names += [(here / name).as_posix() for name in own]
            if len(names) > MOST_FILES:
                break
        names = [name for name in names if _is_own_file(path, name)]
        if not names:
            raise InputMissingError(
                f"{path}: expected a folder with a training script, found no files; go to the "
                "folder of the script, or name it: ratchet init PATH"
            )
        texts: dict[str, str] = {}
        left = READ_BYTES
        for name in names:
            text = _text(path / name) if left > 0 else None
            if text is not None:
                texts[name] = text
                left -= len(text)
        return cls(path, frozenset(names), texts)

    @property
    def documents(self) -> list[str]:
        """Texts of README and program.md, what decides first."""
        names = [
            n for n in self.texts if "/" not in n and n.lower().endswith((".md", ".rst", ".txt"))
        ]
        return [self.texts[name] for name in sorted(names, key=lambda n: n != BRIEF)]

    def size(self, name: str) -> int:
        return (self.path / name).stat().st_size


def _is_own_file(folder: Path, name: str) -> bool:
    place = folder / name
    inside = not place.is_symlink() or place.resolve().is_relative_to(folder.resolve())
    return inside and place.is_file()


def _is_of_script(name: str) -> bool:
    left = (DEFINITION, "results.tsv", "run.log")
    return not (name in SKIPPED or name.startswith(".") or name in left)


def _text(path: Path) -> str | None:
    """Text of a file; ``None`` for one that is large or no text."""
    try:
        if path.stat().st_size > TEXT_BYTES:
            return None
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return None


SETTINGS_SUFFIXES = (".yaml", ".yml", ".json", ".toml")
COMPILED_SUFFIXES = (".c", ".cc", ".cpp", ".cxx", ".cu", ".rs", ".go", ".f90", ".zig")
"""Ends of the names of sources that a build makes a program of."""

_words = str.split
_TRAINS = re.compile(r"train|learn|fit(?![a-z])|optimi[sz]e")
_RUNS = re.compile(r"main|run|model|experiment|solve|simulat")
_PREPARES = re.compile(r"prepar|preproc|process|download|fetch|setup|install|tokeni|dataset|clean")
_OTHERS = re.compile(
    r"test|eval|infer|predict|sampl|generat|plot|visual|demo|serve|export|bench|sweep|convert"
    r"|analy|lint|format|doc|deploy|upload|submit|agent"
)
_PROGRAMS = frozenset(
    _words("""python sh bash make torchrun accelerate deepspeed mpirun horovodrun ipython papermill
    node bun deno julia Rscript ruby perl php lua octave java go cargo dotnet swift""")
)
"""Programs that run a script; of others a document mostly says how to install or to look."""

_WRAPPERS = frozenset({"nohup", "time", "exec"})
_RUNNERS = frozenset({"uv", "poetry", "pipenv", "pdm", "rye", "hatch", "pixi"})
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_PLACEHOLDER = re.compile(r"<\w|\[\w|\.\.\.|path/to|/path|\$[({]?[A-Za-z]")
_BUILDS = re.compile(r"\s*(?:make|cmake|ninja|g\+\+|gcc|clang\+*|nvcc|cargo|go)\b")
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)")
_PROMPT = re.compile(r"^\s*(?:\([\w.-]+\) )?[$>%] ")


class Command(Frozen):
    """A command that may train: its words, what it is said by, and how likely it is meant.

    ``variables`` stand before it where it is written; ``script`` is the file of the task that
    it runs, if one of its words is none.
    """

    words: tuple[str, ...]
    source: str
    score: float
    variables: Mapping[str, str] = field(default_factory=dict)
    script: str = ""


def find_commands(texts: Mapping[str, str], names: Collection[str]) -> list[Command]:
    """Commands that may train, the likeliest first.

    ``texts`` are those of the folder's text files by name, ``names`` all its files.  Documents
    come before scripts that nothing mentions, and what trains before what runs.
    """
    found = [*_documented(texts, names), *_project_scripts(texts, names), *_targets(texts, names)]
    found += _lone_scripts(texts, names)
    best: dict[tuple[str, ...], Command] = {}
    for each in found:
        if each.words not in best or best[each.words].score < each.score:
            best[each.words] = each
    return sorted(best.values(), key=lambda each: -each.score)


def _documented(texts: Mapping[str, str], names: Collection[str]) -> Iterator[Command]:
    """Commands in fenced blocks, indented lines and code spans of documents."""
    documents = [
        n for n in texts if n.lower().endswith((".md", ".rst", ".txt")) and n.count("/") < 2
    ]
    documents.sort(key=lambda n: (n.count("/"), n != BRIEF, not n.lower().startswith("readme"), n))
    for rank, name in enumerate(documents):
        weight = 2.0 if rank < 2 and "/" not in name else 0.0
        built: list[str] = []
        for number, (line, in_block) in enumerate(_shown_lines(texts[name]), 1):
            if not line:
                built = []
            for part in re.split(r"&&|;", line):
                made = _command_of(part, names, bool(built))
                if made is None:
                    built += [part.strip()] if in_block and _BUILDS.match(part) else []
                    continue
                words, variables = made
                if built and words[0].startswith("./"):
                    words = ["sh", "-c", " && ".join([*built, shlex.join(words)])]
                score = _score(words, names) + weight - 0.01 * number
                yield Command(tuple(words), f"{name}:{number}", score, variables)


def _shown_lines(text: str) -> Iterator[tuple[str, bool]]:
    """Each line as a command that it may be, and whether it stands in a block; empty for none."""
    fenced, kept = False, ""
    for line in text.splitlines():
        if _FENCE.match(line):
            fenced = not fenced
            yield "", False
            continue
        if fenced or line.startswith(("    ", "\t")):
            shown = kept + _PROMPT.sub("", line).strip()
            if shown.endswith("\\"):
                kept = shown[:-1] + " "
                yield "", True
            else:
                kept = ""
                yield shown if shown else "#", True
            continue
        yield "; ".join(re.findall(r"`([^`\n]{3,300})`", line)), False


def _command_of(
    text: str, names: Collection[str], built: bool
) -> tuple[list[str], dict[str, str]] | None:
    """Words and variables of a line that runs a file of the folder; ``None`` for any other."""
    text = re.split(r"\s(?:#|\||&|2?&?>+)", f"{text} ", maxsplit=1)[0]
    if _PLACEHOLDER.search(text):
        return None
    try:
        words = shlex.split(text)
    except ValueError:
        return None
    variables: dict[str, str] = {}
    while words and (words[0] in _WRAPPERS or _ASSIGNMENT.fullmatch(words[0])):
        match = _ASSIGNMENT.fullmatch(words.pop(0))
        given = match is not None and match[1] not in SET and not OWN.fullmatch(match[1])
        variables |= {match[1]: match[2]} if match is not None and given else {}
    runner = len(words) > 2 and words[0] in _RUNNERS and words[1] == "run"
    if runner:
        words = words[2:]
        while len(words) > 1 and words[0].startswith("-"):
            words.pop(0)
    if not words:
        return None
    if re.fullmatch(r"(?:\S*/bin/)?python[\d.]*|py", words[0]):
        words[0] = "python"
    called = runner or words[0].startswith("./")
    if not called and words[0] not in _PROGRAMS:
        return None
    if called and words[0].endswith(".py") and words[0].removeprefix("./") in names:
        words = ["python", words[0].removeprefix("./"), *words[1:]]
    is_make = words[0] == "make" and any(n in names for n in ("Makefile", "makefile"))
    is_target = is_make and any(_runs_target(word, names) for word in words[1:])
    is_built = built and words[0].startswith("./")
    files = command_files(words[0 if called else 1 :], names.__contains__)
    if not (is_target or is_built or files) or (is_make and not is_target):
        return None
    return words, variables


def _runs_target(word: str, names: Iterable[str]) -> bool:
    """Whether a target of a Makefile runs something, and is no program that is made."""
    sources = {PurePosixPath(name).stem for name in names if name.endswith(COMPILED_SUFFIXES)}
    is_word = re.fullmatch(r"[A-Za-z][\w-]*", word) is not None
    return is_word and not word.startswith(tuple(sources)) and _score([word]) > 0


def _score(words: Sequence[str], names: Collection[str] = ()) -> float:
    """How likely a command trains, by the name of what it runs."""
    files = command_files(words, names.__contains__)
    what = PurePosixPath(files[0]).stem.lower() if files else " ".join(words).lower()
    score = 6.0 * bool(_TRAINS.search(what)) + 3.0 * bool(_RUNS.search(what))
    score -= 6.0 * bool(_PREPARES.search(what)) + 5.0 * bool(_OTHERS.search(what))
    score -= 1.0 * (words[0] == "torchrun" or "launch" in words) + 2.0 * ("test" in words[1:])
    return score - 4.0 * (not files and words[0] == "make" and not score)


def _project_scripts(texts: Mapping[str, str], names: Collection[str]) -> Iterator[Command]:
    """Commands of ``pyproject.toml``: tasks of runners, and functions that it installs as programs.

    An installed program would run the installed files; its function is called in the run's.
    """
    try:
        data = tomllib.loads(texts.get("pyproject.toml", ""))
    except tomllib.TOMLDecodeError:
        return
    tool = data.get("tool", {})
    tasks = [tool.get("poe", {}).get("tasks"), tool.get("pdm", {}).get("scripts")]
    tasks += [tool.get("pixi", {}).get("tasks"), tool.get("taskipy", {}).get("tasks")]
    for group in filter(lambda each: isinstance(each, dict), tasks):
        for name, value in group.items():
            text = value.get("cmd") if isinstance(value, dict) else value
            made = _command_of(text, names, False) if isinstance(text, str) else None
            if made is not None:
                score = _score([name]) + 1.0
                yield Command(tuple(made[0]), f"pyproject.toml: {name}", score, made[1])
    scripts = data.get("project", {}).get("scripts", {})
    for name, value in scripts.items() if isinstance(scripts, dict) else ():
        match = re.fullmatch(r"([\w.]+):([\w.]+)", str(value))
        if match is None:
            continue
        files = command_files(["-m", match[1]], names.__contains__)
        if files:
            top = match[2].split(".")[0]
            code = f"from {match[1]} import {top}; raise SystemExit({match[2]}())"
            score = _score([name])
            words = ("python", "-c", code)
            yield Command(words, f"pyproject.toml: {name}", score, script=files[0])


_TARGET = re.compile(r"^([A-Za-z][\w.-]*)\s*:(?!=)", re.MULTILINE)


def _targets(texts: Mapping[str, str], names: Collection[str]) -> Iterator[Command]:
    """Targets of a Makefile that train or run, or else the program that it makes."""
    text = texts.get("Makefile", texts.get("makefile", ""))
    known = [n for n in _TARGET.findall(text) if not re.search(r"^(all|clean|install)$|\.o$", n)]
    for name in known:
        if _runs_target(name, names):
            # One that runs a script knows its arguments, and what must be made before.
            rule = f"\n{text}".partition(f"\n{name}:")[2].partition("\n\n")[0]
            runs = not set(rule.partition("\n")[2].split()).isdisjoint(names)
            score = _score([name]) - (0.5 if runs else 1.5)
            yield Command(("make", name), f"Makefile: {name}", score)
    sources = [name for name in names if name.endswith(COMPILED_SUFFIXES)]
    if sources and known and known[0] not in ("train", "run"):
        words = ("sh", "-c", f"make && ./{known[0]}")
        is_named = known[0] in {PurePosixPath(name).stem for name in sources}
        yield Command(words, f"Makefile: {known[0]}", _score([known[0]]) - 1.5 + is_named)


def _lone_scripts(texts: Mapping[str, str], names: Collection[str]) -> Iterator[Command]:
    """Scripts that nothing mentions, by their names; a notebook is run by its cells."""
    scripts = [n for n in names if n.endswith((".py", ".sh", NOTEBOOK)) and n.count("/") < 2]
    only = len([name for name in scripts if "/" not in name]) == 1
    for name in sorted(scripts, key=lambda n: (n.count("/"), n)):
        score = _score([name], names)
        if score <= 0 and not (only and "/" not in name):
            continue
        program = {".py": "python", ".sh": "sh"}.get(PurePosixPath(name).suffix, "")
        if not program and name not in texts:
            continue
        words = (program, name) if program else notebook_command(name)
        score -= 1.0 + name.count("/") + 1.0 * (not program)
        yield Command(words, "the file's name", score, script="" if program else name)


def notebook_command(name: str) -> tuple[str, ...]:
    """Command that runs the code cells of a notebook in their order, without magics.

    It needs nothing but Python, and what the cells print is the run's log.
    """
    code = (
        "import json; cells = json.load(open({0!r}))['cells']; "
        "lines = [line for c in cells if c['cell_type'] == 'code' "
        "for line in ''.join(c['source']).splitlines() if line[:1] not in '%!']; "
        "exec(compile('\\n'.join(lines), {0!r}, 'exec'))"
    )
    return ("python", "-c", code.format(name))


_PATH = re.compile(r"[\w.@+-]+(?:/[\w.@+-]+)*/?")


_NO_INPUT = (".md", ".rst", ".log", "license", ".png", ".svg", ".html")
"""Ends of the names of files that no training reads, though it may name them."""


def needed_files(
    start: Iterable[str], texts: Mapping[str, str], names: Collection[str]
) -> list[str]:
    """Files that the files of a start name, and those that these name, in a fixed order.

    A file is named by its path or its own name, a folder by its path, a Python module by an
    import.  ``names`` are all files of the folder, ``texts`` what stands in those that are text.
    """
    by_name: dict[str, list[str]] = {}
    by_folder: dict[str, list[str]] = {}
    for name in sorted(names):
        path = PurePosixPath(name)
        by_name.setdefault(path.name, []).append(name)
        for folder in path.parents[:-1]:
            by_folder.setdefault(folder.as_posix(), []).append(name)
    found: list[str] = []
    todo = [name for name in start if name in names]
    while todo:
        name = todo.pop(0)
        if name in found or name.lower().endswith(_NO_INPUT):
            continue
        found.append(name)
        if name.endswith((".csv", ".tsv")):
            continue
        here, text = PurePosixPath(name).parent, texts.get(name, "")
        for word in dict.fromkeys(_PATH.findall(text)):
            plain = word.removeprefix("./").rstrip("/.")
            if plain in names:
                todo.append(plain)
            elif (here / plain).as_posix() in names:
                todo.append((here / plain).as_posix())
            elif plain in by_folder and (word.endswith("/") or _is_quoted(plain, text)):
                todo += by_folder[plain]
            elif "." in plain and PurePosixPath(plain).name in by_name:
                todo += by_name[PurePosixPath(plain).name]
        if name.endswith((".py", NOTEBOOK)):
            todo += _imported_files(name, text, names)
    return found


def _is_quoted(word: str, text: str) -> bool:
    return re.search(rf"""["']{re.escape(word)}/?["']""", text) is not None


def _imported_files(name: str, text: str, names: Collection[str]) -> list[str]:
    """Files of the folder that a Python file imports, with the packages that they lie in."""
    here = PurePosixPath(name).parent
    found: list[str] = []
    for module, level in _imports(text):
        bases = [PurePosixPath(), here]
        if level:
            bases = [here if level == 1 else PurePosixPath(*here.parts[: 1 - level])]
        parts = module.split(".") if module else []
        for base in bases:
            for count in range(len(parts) + 1):
                place = base.joinpath(*parts[:count])
                options = [f"{place}.py"] if count else []
                options.append((place / "__init__.py").as_posix())
                found += [option for option in options if option in names]
    return found


def _imports(text: str) -> Iterator[tuple[str, int]]:
    """Modules that a Python text imports, and what it imports from them, with their levels."""
    try:
        tree = parse_python(text)
        nodes = walk(tree)
    except SourceError:  # a notebook, or another language's version
        for match in re.finditer(r"^[\s\"]*(?:from|import)\s+([\w.]+)", text, re.MULTILINE):
            yield match[1], 0
        return
    import ast

    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield module, node.level
            yield from ((f"{module}.{alias.name}".lstrip("."), node.level) for alias in node.names)


def imported_packages(needed: Iterable[str], texts: Mapping[str, str]) -> list[str]:
    """Names of installed packages that Python files import, whatever else they do without them."""
    needed = list(needed)
    own = {part.removesuffix(".py") for name in needed for part in PurePosixPath(name).parts}
    found: set[str] = set()
    for name in needed:
        if name.endswith((".py", NOTEBOOK)):
            text = texts.get(name, "")
            optional = set(re.findall(r"try:\s*\n\s+(?:import|from)\s+(\w+)", text))
            tops = {module.split(".")[0] for module, level in _imports(text) if not level}
            found |= tops - optional
    return sorted(found - own - set(sys.stdlib_module_names) - {""})


def without_defaults(words: Sequence[str], script: str, text: str) -> list[str]:
    """A command without the options whose values are the script's own defaults.

    Given on the command line, a value would hide each edit of the default.
    """
    found, todo = list[str](), list(words)
    while todo:
        word = todo.pop(0)
        option, equals, value = word.partition("=")
        place = find_value(script, text, option) if option.startswith("--") else None
        if place is None:
            found.append(word)
        elif equals:
            found += [] if str(place.value) == value else [word]
        elif todo and str(place.value) == todo[0]:
            todo.pop(0)
        else:
            found.append(word)
    return found


def find_mutable(
    command: Command, needed: Sequence[str], texts: Mapping[str, str]
) -> tuple[list[str], str]:
    """Files that experiments may change, and why: the script, and settings that it is given.

    Of a program that a build makes it is the source that is named for training, or the largest.
    """
    files = command_files(command.words, needed.__contains__) or (
        [command.script] if command.script else []
    )
    scripts = [name for name in files if not name.endswith((*SETTINGS_SUFFIXES, ".sh"))]
    settings = [name for name in files if name.endswith(SETTINGS_SUFFIXES)]
    code = [name for name in needed if name.endswith((*COMPILED_SUFFIXES, ".py", NOTEBOOK))]
    if scripts:
        if not (settings or constant_names(scripts[0], texts.get(scripts[0], ""))):
            own = [name for name in needed if name.endswith(SETTINGS_SUFFIXES)]
            settings = [n for n in own if any(constant_names(n, texts.get(n, "")))][:3]
            return [scripts[0], *settings], "the command" + ", and its settings" * bool(settings)
        return [scripts[0], *settings], "the command"
    trains = [name for name in code if _TRAINS.search(PurePosixPath(name).stem.lower())]
    chosen = trains or sorted(code, key=lambda name: -len(texts.get(name, "")))
    if not chosen:
        return settings, "the command"
    return [chosen[0], *settings], "its name" if trains else "the largest source"


_OF = r"(?:(?:random|global|rng|train|model|base)[-_])?"
"""What a seed may be of: others, such as that of the validation data, belong to the task."""

_FLAG = re.compile(rf"""["'](--{_OF}seed)["']""")
_VARIABLE = re.compile(r"""(?:environ(?:\.get)?|getenv)\s*[(\[]\s*["'](\w*SEED\w*)["']""")
_CONSTANT = re.compile(rf"(?:[\w.]+\.)?k?{_OF}seed", re.IGNORECASE)


def seed_ways(
    needed: Iterable[str], mutable: Collection[str], texts: Mapping[str, str]
) -> list[tuple[Any, str]]:
    """Values of the key ``seed`` that may work, with where each was seen, the surest first."""
    found: list[tuple[Any, str]] = []
    flags: list[tuple[Any, str]] = []
    constants: list[tuple[Any, str]] = []
    is_python = False
    for name in needed:
        text = texts.get(name, "")
        is_python |= name.endswith((".py", NOTEBOOK))
        if "RATCHET_SEED" in text:
            found.append(("environment", name))
        flags += [({"argument": f"{flag}={{seed}}"}, name) for flag in _FLAG.findall(text)]
        variables = [word for word in _VARIABLE.findall(text) if word not in _NO_SEED]
        found += [({"variable": word}, name) for word in variables]
        known = constant_names(name, text) if name in mutable else ()
        constants += [({"constant": word}, name) for word in known if _CONSTANT.fullmatch(word)]
    ways = [*found, *flags, *constants, *([("hook", "the seeds in its code")] if is_python else [])]
    return [way for place, way in enumerate(ways) if way[0] not in [w[0] for w in ways[:place]]]


_NO_SEED = frozenset({"RATCHET_SEED", "PYTHONHASHSEED"})
_CACHE = re.compile(r"""~/\.cache/([\w.-]*\w)|["']\.cache["']\s*[,/]\s*["']([\w.-]*\w)["']""")


def home_caches(needed: Iterable[str], texts: Mapping[str, str]) -> list[str]:
    """Folders below ``~/.cache`` that the files name as their own."""
    found = [one or two for name in needed for one, two in _CACHE.findall(texts.get(name, ""))]
    return [f"~/.cache/{name}" for name in dict.fromkeys(found)]


MOST_LABELS = 500
"""Names of printed numbers that are looked at: a log that has more prints no summary."""

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_PAIR = re.compile(
    r"(?<![\w./@^-])(?P<label>[A-Za-z][\w./@^-]{0,40}(?: \(?[A-Za-z][\w./@^-]{0,40}\)?){0,5})"
    rf"(?P<between>[\"']?\s{{0,20}}[:=]\s{{0,20}}|\s{{1,60}})(?P<value>{_NUMBER}|nan|inf)"
    r"\s?(?P<unit>%|[GMK]i?B\b)?(?![\w])"
)
_VALUE = r"[^\s,;|/)}\]]+"
"""A word that may be a number, with its percent sign; NaN too."""

_JOINING = re.compile(r"(?: (?:is|was|of|at|to|equals|reached|now))+$")
_LEVEL = re.compile(r"^(?:(?:INFO|DEBUG|WARNING|root) )+(?=.)")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
LONGEST_LINE = 500
"""Characters of a line that are read for numbers with names."""


class Printed(Frozen):
    """A number that a run printed under one label, once or again and again.

    ``name`` is the label as one word, ``values`` are in the order of the log, ``line`` is the
    number of the last line with it and ``unit`` what stands behind it.
    """

    label: str
    name: str
    values: tuple[float, ...]
    line: int
    between: str = ": "
    unit: str = ""

    def pattern(self, log: str) -> str:
        """Regular expression that finds its last value in the log; empty if none does."""
        before, sign, _ = self.between.partition(self.between.strip() or self.between)
        lead = r"\s*" if before else ""
        between = rf"{lead}{re.escape(sign)}\s*" if sign.strip() else r"\s+"
        label = re.escape(self.label).replace("\\ ", " ")
        for begin in (r"\b", r"(?:^|[^\w./@-])"):
            text = rf"{begin}{label}{between}({_VALUE})"
            if search_patterns(log, {"x": text}).get("x") == self.values[-1]:
                return text
        return ""


def printed_numbers(log: str) -> list[Printed]:
    """Numbers with labels that a log holds, in the order of their last lines."""
    values: dict[str, list[float]] = {}
    last: dict[str, tuple[int, str, str]] = {}
    for number, line in enumerate(clean_lines(log)):
        for match in _PAIR.finditer(line[:LONGEST_LINE]):
            shown = _LEVEL.sub("", match["label"])
            label = _JOINING.sub("", shown)
            between = shown[len(label) :] + match["between"]
            if label not in values and len(values) >= MOST_LABELS:
                continue
            values.setdefault(label, []).append(float(match["value"]))
            last[label] = (number, between, match["unit"] or "")
    found = [
        Printed(label, _name_of(label), tuple(values[label]), *last[label]) for label in values
    ]
    return sorted(found, key=lambda each: each.line)


def _name_of(label: str) -> str:
    """A label as the name of a number."""
    if _IDENTIFIER.fullmatch(label):
        return label
    plain = re.sub(r"[^A-Za-z0-9]+", "_", label.lower()).strip("_")
    return plain if plain[:1].isalpha() else f"x_{plain}"


_DOWN = re.compile(
    r"\b(?:lower|lowest|minimi[sz]e|smaller|smallest|reduce|down|less)\b", re.IGNORECASE
)
_UP = re.compile(r"\b(?:higher|highest|maximi[sz]e|larger|raise|increase|up|more)\b", re.IGNORECASE)
_GOAL = re.compile(r"\b(?:metric|goal|objective|optimi[sz]e|better|best|target)\b", re.IGNORECASE)


def stated_goal(number: Printed, documents: Iterable[str]) -> tuple[bool, int]:
    """Whether documents say that a number decides, and its sign where they say it.

    The sign is -1 where lower is better, 1 where higher is, and 0 where nothing is said, or both.
    """
    wanted = re.compile(
        rf"(?<![\w-])(?:{re.escape(number.label)}|{re.escape(number.name)})(?![\w-])",
        re.IGNORECASE,
    )
    named, signs = False, set[int]()
    for text in documents:
        for sentence in re.split(r"(?<=[.!?;])\s|\n\s*\n|\n[-*#|]", text):
            if not wanted.search(sentence):
                continue
            down, up = bool(_DOWN.search(sentence)), bool(_UP.search(sentence))
            named |= down or up or bool(_GOAL.search(sentence))
            signs |= {-1 if down else 1} if down != up else set()
    return named, signs.pop() if len(signs) == 1 else 0


MEGABYTES = {"K": 1 / 1024, "M": 1.0, "G": 1024.0}


def memory_unit(number: Printed) -> float | None:
    """Megabytes of a unit of a printed amount of memory; ``None`` where the unit is not said."""
    match = re.search(r"(?:^|_)([kmg])i?b$", re.sub(r"[^a-z0-9]+", "_", number.label.lower()))
    letter = number.unit[:1] if number.unit[:1] in MEGABYTES else match[1].upper() if match else ""
    return MEGABYTES.get(letter)


_STEP = re.compile(r"(?:num_|total_|n_|max_)?(?:steps?|iter(?:ation)?s?|epochs?)", re.IGNORECASE)


def printed_steps(numbers: Iterable[Printed]) -> tuple[int, bool, str] | None:
    """Steps or epochs of a run by what it printed, whether that is their total, and the label."""
    counted = [n for n in numbers if _STEP.fullmatch(n.name) and max(n.values) >= 1]
    if not counted:
        return None
    most = max(counted, key=lambda n: max(n.values))
    total = most.name.lower().startswith(("num_", "total_", "n_")) or len(most.values) == 1
    return round(max(most.values)), total, most.label
