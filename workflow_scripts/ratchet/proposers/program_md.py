"""program.md: what whoever proposes is told of a task, written, checked, updated."""

import enum
import re
from collections.abc import Iterator, Mapping, Sequence
from shlex import quote
from typing import Any

from ratchet.base.structs import Frozen, field
from ratchet.base.templates import fill_template
from ratchet.base.text import escape_markdown, plural
from ratchet.config import Config
from ratchet.judge.tradeoffs import Ceiling
from ratchet.records.confirmed import confirmed_gain, gain_sentence
from ratchet.records.history import History
from ratchet.records.paths import SessionPaths
from ratchet.records.records import CATEGORIES, Direction, Suggestion, chance_name
from ratchet.session import Budget, Session, memory_ceiling, run_budget
from ratchet.steering.categories import untried_angles
from ratchet.task.task import DeclaredChange, Task


class ProgramContract(Frozen):
    """The task and the configuration as far as a proposer must know them.

    Exactly one of ``budget_seconds`` and ``budget_steps`` is set; ``budget_fixed`` where the
    code sets it itself.  ``directions``
    are the categories of the search space, the most promising first, each with what
    it may vary.
    """

    task: str
    metric: str
    direction: Direction
    mutable: Sequence[str]
    fixed: Sequence[str] = ()
    description: str = ""
    unit: str = ""
    budget_seconds: float | None = None
    budget_steps: int | None = None
    budget_fixed: bool = False
    ceiling: Ceiling = field(default_factory=Ceiling)
    network: bool = False
    allowed: Sequence[str] = ()
    replicates: int = 3
    directions: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def lower(self) -> bool:
        """Whether a lower metric is the better one."""
        return self.direction is Direction.MINIMIZE

    @property
    def better(self) -> str:
        return f"{self.direction.better} is better"

    @property
    def verb(self) -> str:
        return "Lower" if self.lower else "Raise"

    @property
    def is_one_training(self) -> bool:
        """Whether a run trains for as long as its code says, which is told no step."""
        return self.budget_fixed and self.budget_steps == 1

    @property
    def budget(self) -> str:
        """The budget of a run in words."""
        if self.is_one_training:
            return "one whole training"
        if self.budget_steps is not None:
            return plural(self.budget_steps, "step")
        return f"{self.budget_seconds:g} seconds"


class PastSession(Frozen):
    """A session that the next ``program.md`` tells of, finished or not.

    ``folder`` and ``task`` are the folders of session and task as commands name them,
    from where Snakemake runs; ``preset`` is the one that it began with.
    """

    name: str
    folder: str
    task: str
    history: History
    preset: str = ""


# Kinds of sections by their titles; the first that fits counts.
_KINDS = {
    "tried": r"\btried\b|\bhistory\b|\bso far\b|\bearlier experiments\b",
    "editable": r"\b(may|can)\b.{0,12}\b(edit|change|modify)\b|\beditable\b|\bmutable\b",
    "fixed": r"\bfixed\b|\bread-?only\b|\boff[- ]limits\b|\b(cannot|may not|must not)\b",
    "constraints": r"\bconstraints?\b|\brules?\b|\blimits\b",
    "baseline": r"\bbaseline\b|\bstarting point\b",
    "directions": r"\bdirections?\b|\bideas?\b|\bpriorit|\bto try\b|\bto explore\b|\bhypothes",
    "goal": r"\bgoals?\b|\bobjective\b|\baim\b|\bmetric\b",
}

_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r"\s*(```|~~~)")


class Section(Frozen):
    """A heading with all below it up to the next one of its level or above.

    Lines count from 1; ``end`` is the last one.  ``kind`` is one of the kinds above,
    or empty.
    """

    title: str
    level: int
    line: int
    end: int
    kind: str


class Document(Frozen):
    """A Markdown text by its lines and sections."""

    lines: tuple[str, ...]
    sections: tuple[Section, ...]

    def of_kind(self, kind: str) -> list[Section]:
        return [section for section in self.sections if section.kind == kind]

    def place(self, *kinds: str) -> int:
        """Line of the first section of these kinds; the last line where there is none."""
        found = [section for kind in kinds for section in self.of_kind(kind)]
        return found[0].line if found else max(len(self.lines), 1)


def parse_sections(text: str) -> Document:
    """The sections of a text; code between fences begins none."""
    lines = tuple(text.splitlines())
    code = _code(lines)
    return Document(lines, tuple(_sections(lines, code)))


def _kind(title: str) -> str:
    """The kind of section that a title announces; empty for others."""
    plain = title.lower().replace("`", "").replace("*", "")
    return next((kind for kind, words in _KINDS.items() if re.search(words, plain)), "")


def _code(lines: tuple[str, ...]) -> list[bool]:
    """Which lines are fences or between them."""
    inside, found = "", []
    for line in lines:
        match = _FENCE.match(line)
        if match and inside in ("", match[1]):
            found.append(True)
            inside = "" if inside else match[1]
        else:
            found.append(bool(inside))
    return found


def _sections(lines: tuple[str, ...], code: list[bool]) -> Iterator[Section]:
    """All sections in the order of their headings; found from the last line upwards."""
    # Where the next heading of each level or above begins.
    begins = [len(lines) + 1] * 7
    found = []
    for number in range(len(lines), 0, -1):
        match = None if code[number - 1] else _HEADING.match(lines[number - 1])
        if match is None:
            continue
        level = len(match[1])
        # The title of the whole text announces no section.
        kind = _kind(match[2]) if level > 1 else ""
        found.append(Section(match[2], level, number, begins[level] - 1, kind))
        begins[level:] = [number] * (7 - level)
    return reversed(found)


class Flaw(enum.StrEnum):
    """The kinds of findings."""

    MISSING = "missing"
    CONTRADICTORY = "contradictory"


class Finding(Frozen):
    """One fact to mend; ``line`` counts from 1 and is where it stands, or belongs."""

    line: int
    flaw: Flaw
    expected: str
    found: str
    write: str

    def __str__(self) -> str:
        return f"{self.flaw}: expected {self.expected}, found {self.found}; write: {self.write}"


def check_program(text: str, contract: ProgramContract) -> list[Finding]:
    """All findings by line; none for a text that agrees with its contract.

    Each fact must be stated, and stated as the task and the configuration have it.  How a
    text is worded is its author's affair, and what was tried is data that is not read.
    """
    found = _Check(text, contract).run()
    return sorted(found, key=lambda one: (one.line, one.flaw, one.expected, one.found))


_BETTER = re.compile(r"\b(lower|smaller|higher|larger)\s+is\s+better", re.IGNORECASE)
_DURATION = (
    r"(?<![\w.])(?P<amount>\d[\d,]*(?:\.\d+)?)[\s-]*(?:(?:CPU|GPU|wall[\s-]?clock|training)[\s-]+)?"
    r"(?P<unit>seconds?|secs?|s|minutes?|mins?|hours?|hrs?|h|steps?)\b"
)
_BUDGET = re.compile(rf"\bbudget\b[^.;\n]{{0,60}}?{_DURATION}", re.IGNORECASE)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+((?:`[^`]+`(?:,\s*|\s+and\s+)?)+)")
_OTHERS = re.compile(r"\b(?:everything else|other files?|nothing else|only file)\b", re.IGNORECASE)
_COMMAND = re.compile(r"\b(?:python[\d.]*|uv run)\s+([\w./-]+\.py)\b")
_SIZE = re.compile(r"(?<![\w.])(\d[\d,]*(?:\.\d+)?)\s*([GM]i?B)\b")
_MEGABYTES = {"MiB": 1.0, "MB": 1e6 / 2**20, "GiB": 1024.0, "GB": 1e9 / 2**20}
# Between MB and MiB, GB and GiB lie 5 and 7 %, and people mean either by both.
_SAME_SIZE = 0.08


class _Check:
    """A text beside its contract, without what was tried, and what was found so far."""

    def __init__(self, text: str, contract: ProgramContract) -> None:
        self.contract, self.document = contract, parse_sections(text)
        lines = list(self.document.lines)
        for section in self.document.of_kind("tried"):
            lines[section.line : section.end] = [""] * (section.end - section.line)
        self.read = "\n".join(lines)
        self.found: set[Finding] = set()

    def run(self) -> set[Finding]:
        self._metric()
        self._budget()
        self._files()
        self._commands()
        self._memory()
        if not re.search(r"\bseed\b", self.read, re.IGNORECASE):
            who = "who chooses the seed"
            self._missing("constraints fixed", who, "no word of it", "The seed is given.")
        return self.found

    def _missing(self, kinds: str, expected: str, found: str, write: str) -> None:
        """Note what belongs into the first section of these kinds."""
        line = self.document.place(*kinds.split())
        self.found.add(Finding(line, Flaw.MISSING, expected, found, write))

    def _wrong(self, line: int, expected: str, found: str, write: str) -> None:
        self.found.add(Finding(line, Flaw.CONTRADICTORY, expected, found, write))

    def _line(self, place: int) -> int:
        return self.read.count("\n", 0, place) + 1

    def _names(self, name: str) -> bool:
        return bool(re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w-]|\.\w)", self.read))

    def _metric(self) -> None:
        contract = self.contract
        write = f"{contract.verb} `{contract.metric}`: {contract.better}."
        if not self._names(contract.metric):
            self._missing("goal", f"the metric `{contract.metric}`", "no word of it", write)
        match = _BETTER.search(self.read)
        if match is None:
            self._missing("goal", f"the direction ({contract.better})", "none", write)
        elif (match[1].lower() in ("lower", "smaller")) is not contract.lower:
            self._wrong(self._line(match.start()), contract.better, repr(match[0]), write)

    def _budget(self) -> None:
        expected = f"a budget of {self.contract.budget}"
        write = f"The budget of each run is {self.contract.budget}."
        stated = list(_BUDGET.finditer(self.read))
        for match in stated:
            if not self._is_budget(match):
                found = repr(f"{match['amount']} {match['unit']}")
                self._wrong(self._line(match.start("amount")), expected, found, write)
        if not stated and not self.contract.is_one_training:
            self._missing("constraints fixed goal", expected, "none", write)

    def _is_budget(self, match: re.Match[str]) -> bool:
        amount, unit = float(match["amount"].replace(",", "")), match["unit"].lower()
        if unit.startswith("step"):
            return amount == self.contract.budget_steps
        wanted = self.contract.budget_seconds
        return wanted is not None and abs(amount * _SECONDS[unit[0]] - wanted) <= 0.01 * wanted

    def _files(self) -> None:
        contract = self.contract
        mutable = ", ".join(f"`{name}`" for name in contract.mutable)
        fixed = [name for name in contract.fixed if not self._names(name)]
        if not all(self._names(name) for name in contract.mutable):
            expected, write = f"the files to edit ({mutable})", f"You may edit {mutable}."
            self._missing("editable goal", expected, "not all named", write)
        if fixed and not _OTHERS.search(self.read):
            names = ", ".join(f"`{name}`" for name in fixed)
            found, write = f"no word of {names}", f"Fixed files: {names}."
            self._missing("fixed constraints", "the fixed files", found, write)
        write = f"You may edit {mutable}, and nothing else."
        for kind, wrong, should in (
            ("editable", contract.fixed, "fixed"),
            ("fixed", contract.mutable, "editable"),
        ):
            for line, listed in self._listed(kind):
                for name in sorted(listed & set(wrong)):
                    self._wrong(line, f"`{name}` to be {should}", "it in the other list", write)

    def _listed(self, kind: str) -> Iterator[tuple[int, set[str]]]:
        """Files that begin an item of a section's list, with their line."""
        for section in self.document.of_kind(kind):
            for number in range(section.line + 1, section.end + 1):
                match = _ITEM.match(self.document.lines[number - 1])
                if match:
                    yield number, set(re.findall(r"`([^`]+)`", match[1]))

    def _commands(self) -> None:
        write = f"python {self.contract.mutable[0]}, or another of its files"
        for match in _COMMAND.finditer(self.read):
            if match[1] not in (*self.contract.mutable, *self.contract.fixed):
                found = f"{match[0]!r}, no file of the task"
                self._wrong(self._line(match.start()), "a command that exists", found, write)

    def _memory(self) -> None:
        ceiling = self.contract.ceiling.megabytes
        if ceiling is None:
            return
        said = _SIZE.findall(self.read)
        sizes = (float(n.replace(",", "")) * _MEGABYTES[unit] for n, unit in said)
        if not any(abs(size - ceiling) <= _SAME_SIZE * ceiling for size in sizes):
            expected, write = f"the memory ceiling of {ceiling:g} MiB", self.contract.ceiling.words
            self._missing("constraints fixed", expected, "none", f"{write}.")


ANGLES = 4
"""Angles that are named for a category where nothing is declared."""


def render_program(contract: ProgramContract, past: PastSession | None = None) -> str:
    """The text, with the measured baseline and what was tried where there is a session.

    The same task gives the same text, and a text that agrees with its task.
    """
    return _filled(
        "program.md",
        contract,
        past=past,
        directions=_known_directions(contract, past),
        escape=escape_markdown,
        measured=measured_paragraph,
        next_steps=next_steps,
        tried=tried_section,
    )


def _known_directions(
    contract: ProgramContract, past: PastSession | None
) -> list[tuple[str, Sequence[str]]]:
    """Categories with what they may vary, those that did well in a session first."""
    known = dict(contract.directions) or {
        name: tuple(untried_angles(name, ())[:ANGLES])
        for name in CATEGORIES
        if untried_angles(name, ())
    }
    order = [name for name in (past.history.state.ranking if past else ()) if name in known]
    return [(n, known[n]) for n in (*order, *(name for name in known if name not in order))]


LISTED = 60
"""Experiments that a chapter lists of each kind, the latest ones."""

_NOTHING = re.compile(r"\A\s*(nothing( yet)?|none( yet)?|n/a|-)\.?\s*\Z", re.IGNORECASE)
_NEXT = "What to try next"
NOTHING_NEXT = "Nothing in particular: every declared change and usual angle was tried.\n"
_TRIED = "What has been tried"
_MEASURED = "Measured by the last session"


def update_program(text: str, contract: ProgramContract, past: PastSession) -> str:
    """A new version of ``text`` after a session; the same inputs give the same text.

    What people wrote stays as it is.  Three parts are the session's: its measurements
    below the baseline, what to try next, and a chapter of what has been tried.  Earlier
    sessions' chapters stay; the same session's are replaced.
    """
    text = _chapter(text, "baseline", "Baseline", _MEASURED, measured_paragraph(contract, past))
    text = _next(text, past.history.state.suggestions)
    title = f"Session `{past.name}`"
    return _chapter(text, "tried", _TRIED, title, tried_section(contract, past.history))


def measured_paragraph(contract: ProgramContract, past: PastSession) -> str:
    """Baseline and champion in a paragraph."""
    found = past.history.confirmation
    gain = None if found is None or found.gain is None else confirmed_gain(found)
    said = "" if gain is None else gain_sentence(gain, lambda value: f"{value:.4g}")
    known = {"gain": gain, "confirmed": said, "quote": quote}
    return _filled("measured.md", contract, past=past, **known)


def _filled(name: str, contract: ProgramContract, **values: Any) -> str:
    return fill_template(__file__, name, contract=contract, **values)


def next_steps(suggestions: Sequence[Suggestion]) -> str:
    """Steering's suggestions, the one to follow first at the top."""
    return fill_template(__file__, "next.md", suggestions=suggestions, escape=escape_markdown)


def tried_section(contract: ProgramContract, history: History) -> str:
    """The log of a session: kept, not kept, failed, and what to leave alone."""
    values = {"history": history, "listed": LISTED, "escape": escape_markdown, "share": _share}
    values["chance_name"] = chance_name
    return _filled("tried.md", contract, **values)


def _share(probability: float) -> str:
    """Nothing is ever certain."""
    if probability > 0.999:
        return "> 0.999"
    return "< 0.001" if probability < 0.001 else f"{probability:.3f}"


def _chapter(text: str, kind: str, section_title: str, title: str, body: str) -> str:
    """``text`` with a subsection of this title at the end of its section of a kind.

    An older one of the same title goes.  Without a section of that kind one is added
    at the end of the text.
    """
    document = parse_sections(text)
    sections = document.of_kind(kind)
    chapter = f"### {title}\n\n{body}"
    if not sections:
        return f"{_ended(text)}\n## {section_title}\n\n{chapter}"
    own = _without(document, sections[0], title)
    before = "" if _NOTHING.match(own) else _ended(own.lstrip("\n")) + "\n"
    return _replaced(document, sections[0], f"\n{before.lstrip(chr(10))}{chapter}")


def _without(document: Document, section: Section, title: str) -> str:
    """Lines of a section but for its heading and subsections of this title."""
    gone: set[int] = set()
    for other in document.sections:
        inside = section.line < other.line <= section.end and other.level > section.level
        if inside and other.title == title:
            gone |= set(range(other.line, other.end + 1))
    kept = [n for n in range(section.line + 1, section.end + 1) if n not in gone]
    return "".join(f"{document.lines[number - 1]}\n" for number in kept)


def _next(text: str, suggestions: Sequence[Suggestion]) -> str:
    """``text`` with the suggestions in a section of their own, before the directions."""
    document = parse_sections(text)
    body = f"\n{next_steps(suggestions) if suggestions else NOTHING_NEXT}"
    old = next((s for s in document.sections if s.title == _NEXT), None)
    if old is not None:
        return _replaced(document, old, body)
    block = f"## {_NEXT}\n{body}"
    before = [*document.of_kind("directions"), *document.of_kind("tried")]
    if not before:
        return f"{_ended(text)}\n{block}"
    place = before[0].line - 1
    lines = list(document.lines)
    head, rest = "\n".join(lines[:place]), "\n".join(lines[place:])
    return f"{_ended(head)}\n{block}\n{_ended(rest)}"


def _replaced(document: Document, section: Section, body: str) -> str:
    """The text with another body below a section's heading."""
    head = "\n".join(document.lines[: section.line])
    rest = "\n".join(document.lines[section.end :])
    return f"{_ended(head)}{body}" + (f"\n{_ended(rest)}" if rest.strip() else "")


def _ended(text: str) -> str:
    return text.rstrip("\n") + "\n" if text.strip() else ""


def contract_of(task: Task, config: Config, budget: Budget) -> ProgramContract:
    """Contract that a ``program.md`` of this task states under this configuration."""
    return ProgramContract(
        task=task.name,
        metric=task.metric.name,
        direction=task.metric.direction,
        unit=task.metric.unit,
        description=task.description.rstrip("."),
        mutable=task.mutable,
        fixed=task.fixed,
        budget_seconds=budget["seconds"],
        budget_steps=budget["steps"],
        budget_fixed=task.budget_fixed,
        ceiling=memory_ceiling(config),
        network=task.network,
        allowed=task.allow_packages,
        replicates=config.baseline_replicates,
        directions=_declared_directions(task.search_space),
    )


def budget_of(task: Task, config: Config) -> Budget:
    """The budget of a run of a new session; what ``auto`` will choose is left out."""
    return run_budget(config.frozen, task.sized(task.preset(config.preset)))


def _declared_directions(space: Sequence[DeclaredChange]) -> dict[str, list[str]]:
    """Declared changes by category, in the order of the search space."""
    found: dict[str, list[str]] = {}
    for change in space:
        name = change.name if change.is_constant else change.name.replace("-", " ")
        found.setdefault(change.category, []).append(f"{name}{_tried(change)}")
    return found


def _tried(change: DeclaredChange) -> str:
    """Values of a constant that are to be tried, in brackets; or its range without any."""
    limits = change.range
    values = change.values or (() if limits is None else limits.choices)
    if values:
        return f" ({', '.join(str(value) for value in values)})"
    return "" if limits is None else f" ({limits.low:g} to {limits.high:g})"


def next_version(session: Session, history: History) -> str:
    """The session's own ``program.md`` with what the session found out written into it.

    The frozen one is not touched.  Equal sessions give equal texts.
    """
    frozen = session.store.get(session.manifest.brief.sha256).decode(errors="replace")
    contract = contract_of(session.task, session.config, session.budget)
    return update_program(frozen, contract, past_session(session, history))


def past_session(session: Session, history: History) -> PastSession:
    """Findings of a session for the next ``program.md``."""
    preset = session.manifest.preset
    return PastSession(
        name=session.config.session,
        # As seen from the folder where Snakemake runs, wherever that is.
        folder=str(SessionPaths(session.config.session).folder),
        task=str(session.manifest.frozen["task"]),
        history=history,
        preset="" if preset is None else preset.name,
    )
