"""Checks of an edit by reading its code: what it may not do if its measurement is to count.

The mutable files of a candidate are compared with the baseline's as syntax trees;
only what is *new* counts, so that code which the task itself ships is never an
offence.  A file that cannot be read as it is run is refused before that.  A blocking
flag means that the run would measure something else than the others did, or that its
code is hidden: the candidate is not run and its verdict is TAMPERED.  A note, such as
on data in a literal, is shown in the report and decides nothing.

This reads code, it does not prove anything: Python can hide any call from it.  What
it stops is the plain cheat and the honest mistake; the rest is caught from outside,
by hashes, by the served evaluation and by isolation.
"""

import ast
import enum
import itertools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ratchet.base.structs import Frozen, replace
from ratchet.base.text import LINE_LIMIT, one_line, shorten
from ratchet.records.records import Proposal
from ratchet.session import Session
from ratchet.task.edits import find_value
from ratchet.task.sources import (
    HIDDEN,
    SourceError,
    TooSlowError,
    new_faults,
    parse_python,
    reading_time,
    walk,
)

TEXT_LIMIT = 80
"""Characters of code that a flag shows."""

MOST_SHOWN_NODES = 400
"""Nodes of code that is written out for a flag, a function of some 40 lines."""

RESEEDS = "changes nothing but how random numbers start"
"""Reason to refuse an edit that only draws another lot."""

SEEDING = frozenset(
    {"seed", "manual_seed", "manual_seed_all", "default_rng", "RandomState", "SeedSequence"}
    | {"Random", "PCG64", "Philox", "MT19937", "PRNGKey"}
)
"""Functions that start a random stream: of random, numpy, torch and JAX."""

EVALUATOR_NAME = "RATCHET_EVALUATOR"
"""Prefix of the variables by which the fixed files reach the evaluator."""

CLOCKS = frozenset({"time", "datetime"})
CLOCK_CALLS = frozenset({"sleep", "setitimer", "alarm", "clock_settime", "settimeofday"})
PRINTING = ("print", "write", "writelines", "info")

OUTSIDE = frozenset(
    {"subprocess", "socket", "ctypes", "multiprocessing", "urllib", "http", "requests", "pty"}
    | {"importlib", "inspect", "gc", "signal", "atexit", "pickle", "shutil", "mmap", "resource"}
)
"""Modules that lead out of the training: to other processes, machines and frames."""

OUTSIDE_CALLS = frozenset(
    {"exec", "eval", "compile", "__import__", "open", "fork", "setsid", "system", "popen", "kill"}
    | {"dup2", "chmod", "remove", "unlink", "rename", "write_text", "write_bytes", "putenv"}
)
INTROSPECTION = frozenset({"_getframe", "get_objects", "get_referrers", "f_locals", "f_globals"})


class Severity(enum.StrEnum):
    """Whether a flag keeps the candidate from being run."""

    BLOCK = "block"
    NOTE = "note"


class Flag(Frozen):
    """An offence in an edit; ``line`` counts from 1 in the candidate's ``file``."""

    severity: Severity
    kind: str
    file: str
    line: int
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason} ({self.text})"


class EditContract(Frozen):
    """Facts of a task that edits must leave alone: fixed files, and the metric that decides.

    ``printed`` are the other printed names that the harness reads.
    """

    fixed: tuple[str, ...]
    metric: str
    printed: tuple[str, ...] = ()

    @property
    def modules(self) -> frozenset[str]:
        """Import names of the fixed Python files."""
        return frozenset(
            name.removesuffix(".py").replace("/", ".")
            for name in self.fixed
            if name.endswith(".py")
        )


SECONDS = 1.0
"""Processor time that reading an edit may take; a script of 30 kB takes a twentieth."""

MOST_NOTES = 20
"""Notes on one edit that are recorded; of more nobody reads all."""


class Inspection(Frozen):
    """What reading an edit says: why it is not run, if it is not, and what was noticed.

    ``unreadable`` tells files that nobody can read from those that would bend the
    measurement.
    """

    refused: str = ""
    unreadable: bool = False
    notes: tuple[str, ...] = ()


def inspect_proposal(session: Session, proposal: Proposal) -> Inspection:
    """Read a proposal's edit.

    It is compared with the baseline, and with its parent for what it changes.
    """
    outside = sorted(set(proposal.files) - set(session.task.mutable))
    if outside:
        return Inspection(f"changes {outside[0]}, which is none of the mutable files")
    baseline, texts = session.texts(session.baseline_files), session.texts(proposal.files)
    parent = session.texts(session.state(proposal.round - 1).incumbent.files)
    contract, constant = edit_contract(session), session.task.seeding.constant

    def read() -> Inspection:
        found = _read_edit(baseline, texts, contract)
        if found.refused:
            return found
        if constant and all(find_value(n, text, constant) is None for n, text in texts.items()):
            return Inspection(f"no longer sets {constant}, by which the harness gives the seed")
        return replace(found, refused=RESEEDS) if only_reseeds(parent, texts) else found

    found = _guarded(read)
    return replace(found, notes=(*proposal.notes, *found.notes))


def edit_faults(session: Session, sources: Mapping[str, str]) -> Inspection:
    """Read some mutable files; only what the session's baseline does not do itself counts."""
    baseline, texts = session.texts(session.baseline_files), session.texts(sources)
    contract = edit_contract(session)
    return _guarded(lambda: _read_edit(baseline, texts, contract))


def edit_contract(session: Session) -> EditContract:
    """What a session's task wants edits to leave alone."""
    task = session.task
    return EditContract(tuple(task.fixed), task.metric.name, task.printed)


def _guarded(read: Callable[[], Inspection]) -> Inspection:
    """Read an edit; whatever goes wrong in that is a fault of the edit.

    One text must not end a session, which would come upon it again whenever it is resumed.
    """
    try:
        with reading_time(SECONDS):
            return read()
    except TooSlowError as error:
        words = f"{error}"
    except Exception as error:
        words = f"reading it fails with {type(error).__name__}: {error!s:.100}"
    return Inspection(one_line(f"could not be read: {words}"), unreadable=True)


def _read_edit(
    baseline: Mapping[str, str], candidate: Mapping[str, str], contract: EditContract
) -> Inspection:
    """Faults of the text first: nothing else can be said of a file that has one."""
    hidden: list[str] = []
    unreadable: list[str] = []
    for name, text in sorted(candidate.items()):
        for (kind, _), words in new_faults(name, text, baseline.get(name, "")).items():
            (hidden if kind in HIDDEN else unreadable).append(f"{name} {words}")
    if hidden or unreadable:
        words = one_line("; ".join([*hidden, *unreadable]))
        return Inspection(f"could not be read: {shorten(words, 1000)}", unreadable=not hidden)
    flags = edit_flags(baseline, candidate, contract)
    blocking = [one_line(str(flag)) for flag in flags if flag.severity is Severity.BLOCK]
    notes = [one_line(str(flag)) for flag in flags if flag.severity is Severity.NOTE]
    if len(notes) > MOST_NOTES:
        more = f"and {len(notes) - MOST_NOTES + 1} more notes on the edit"
        notes = [*notes[: MOST_NOTES - 1], more]
    return Inspection("; ".join(blocking[:MOST_NOTES]), notes=tuple(notes))


def edit_flags(
    baseline: Mapping[str, str], candidate: Mapping[str, str], contract: EditContract
) -> tuple[Flag, ...]:
    """All flags of an edit, blocking ones first.

    Both arguments map mutable files to their text.  Files that are not Python, and
    Python that cannot be read, are passed over: the former are data, the latter has a
    fault of its text.
    """
    flags: list[Flag] = []
    for name, text in sorted(candidate.items()):
        tree, start = _parse_python(name, text), baseline.get(name, "")
        if tree is None:
            continue
        before = _parse_python(name, start)
        start, before = ("", ast.Module([], [])) if before is None else (start, before)
        old = Counter((flag.kind, flag.text) for flag in _flags(name, start, before, contract))
        for flag in _flags(name, text, tree, contract):
            if old[flag.kind, flag.text] > 0:
                old[flag.kind, flag.text] -= 1
            else:
                flags.append(flag)
        flags += _lost_seed(name, before, tree, contract)
    return tuple(sorted(flags, key=lambda f: (f.severity is not Severity.BLOCK, f.file, f.line)))


def only_reseeds(parent: Mapping[str, str], candidate: Mapping[str, str]) -> bool:
    """Whether two versions differ in nothing but how random streams are started.

    Such an edit draws another lot and calls it an improvement.  Comments and
    layout do not count as a difference.
    """
    if parent == candidate or parent.keys() != candidate.keys():
        return False
    edited = [name for name in parent if parent[name] != candidate[name]]
    for name in edited:
        old, new = _parse_python(name, parent[name]), _parse_python(name, candidate[name])
        if old is None or new is None:
            return False
        if ast.dump(_Unseeded().visit(old)) != ast.dump(_Unseeded().visit(new)):
            return False
    return any(_dump(name, parent[name]) != _dump(name, candidate[name]) for name in edited)


def _dump(name: str, text: str) -> str:
    tree = _parse_python(name, text)
    return text if tree is None else ast.dump(tree)


def _flags(file: str, text: str, tree: ast.Module, contract: EditContract) -> Iterator[Flag]:
    """Flags of one file, whether they are new or not."""
    nodes = walk(tree)
    aliases, taken = _fixed_names(nodes, contract)
    unpacked = _unpacked_names(nodes)
    for node in nodes:
        line = getattr(node, "lineno", 1)
        for severity, kind, reason in _offences(node, aliases, taken, contract):
            yield Flag(severity, kind, file, line, _shown_code(node), reason)
        if isinstance(node, ast.Call) and _runs_unpacked(node, unpacked):
            reason = "runs code that it unpacks itself"
            yield Flag(Severity.BLOCK, "hidden", file, line, _shown_code(node), reason)
    yield from _data_flags(file, text, nodes)


def _lost_seed(
    file: str, before: ast.Module, after: ast.Module, contract: EditContract
) -> Iterator[Flag]:
    """The baseline starts its random streams from the harness's seed; this does not."""
    names = {
        alias.asname or alias.name
        for node in walk(before)
        if isinstance(node, ast.ImportFrom) and node.module in contract.modules
        for alias in node.names
        if alias.name.upper() == "SEED"
    }
    for name in sorted(names & _used(before) - _used(after)):
        reason = "no longer uses the seed that the harness gives"
        yield Flag(Severity.BLOCK, "seed", file, 1, name, reason)


def _used(tree: ast.Module) -> set[str]:
    """All names that code reads, imports apart."""
    nodes = walk(tree)
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


class _Unseeded(ast.NodeTransformer):
    """Takes the arguments of seeding calls, and numbers named a seed, away."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if _called_name(node.func) in SEEDING:
            node.args, node.keywords = [], []
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        self.generic_visit(node)
        named = [t.id for t in node.targets if isinstance(t, ast.Name)]
        if any("seed" in name.lower() for name in named):
            node.value = ast.Constant(0)
        return node


def _fixed_names(
    nodes: Iterable[ast.AST], contract: EditContract
) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the fixed modules in this file, and names imported from them."""
    modules, names = set(), set()
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in contract.modules:
                    modules.add(alias.asname or alias.name.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.module in contract.modules:
            names |= {alias.asname or alias.name for alias in node.names}
    return frozenset(modules), frozenset(names)


# Letters of other alphabets that look like Latin ones; those that formulas use are left out.
_LOOKALIKES = re.compile(
    "[\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0455\u0456\u0458\u04bb\u0501\u051b\u051d"
    "\u0410\u0412\u0415\u0405\u0406\u0408\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03bf"
    "\u0585\u0578\u057d\u0570\u0261\u0269\u1d0f]"
)
_WORD = re.compile(r"\w+")


def _is_latin(text: str) -> bool:
    return text.isascii() and text.isalpha()


def _data_flags(file: str, text: str, nodes: Sequence[ast.AST]) -> Iterator[Flag]:
    """Notes on what is hard to read: data in literals and comments, long lines, lookalikes."""

    def note(kind: str, line: int, shown: str, reason: str) -> Flag:
        return Flag(Severity.NOTE, kind, file, line, _cut(" ".join(shown.split())), reason)

    texts = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}  # docstrings
    for node in nodes:
        reason = _data_reason(node, MOST_DOCUMENTED if id(node) in texts else LITERAL_LIMIT)
        if reason:
            line = getattr(node, "lineno", 1)
            value = node.value if isinstance(node, ast.Constant) else type(node).__name__
            yield note("data", line, f"{value!s:.{TEXT_LIMIT}}", reason)
        for name in () if text.isascii() else _own_names(node):
            if not name.isascii() and _LOOKALIKES.search(name):
                yield note("name", getattr(node, "lineno", 1), name, LOOKS_ALIKE)
    for word in () if text.isascii() else dict.fromkeys(_WORD.findall(text)):
        if any(not c.isascii() and _is_latin(unicodedata.normalize("NFKC", c)) for c in word):
            yield note("name", 1, word, LOOKS_ALIKE)
    for number, row in enumerate(text.split("\n"), 1):
        if len(row) > LINE_LIMIT:
            yield note("line", number, row.strip(), f"is a line of {len(row):,} characters")
    comments = "\n".join(_COMMENT.findall(text))
    if packed_length(comments) > PACKED:
        reason = f"comments with {packed_length(comments):,} characters of packed data"
        yield note("data", 1, comments, reason)


LOOKS_ALIKE = "is a name with letters that look like others"
LITERAL_LIMIT = 1000
"""Characters of a literal that says something; a longer one is data."""

MOST_DOCUMENTED = 4000
"""Characters of a docstring that is noted; one file in seven has one of 1,000."""

MOST_VALUES = 250
"""Values of one list or dictionary; more are data."""

NUMBER_BITS = 512
"""Bits of a number that measures or seeds nothing any more."""

PACKED = 200
"""Characters of packed data that are noted: a digest or a key has fewer, a program more."""

_COMMENT = re.compile(r"(?m)^[ \t]*#(.*)$")
_RUN = re.compile(r"[!-~]{40,}")
_HEXADECIMAL = re.compile(r"(?:\\?[xX]?[0-9a-fA-F]{2}){32,}")
ENTROPY_BITS = 4.5
"""Bits per character of a run without blanks: names and paths have 3 to 4.2, base64 over 5."""


def packed_length(text: str) -> int:
    """Characters of a text that look encoded or compressed.

    These are runs without blanks that are hexadecimal, or have letters of both cases,
    digits and the entropy of an encoding; and characters that no text has, if there are
    many of them.
    """
    runs = [run for run in _RUN.findall(text) if _is_packed(run)]
    strange = [c for c in text if c > "\x7e" or (c < " " and c not in "\t\n\r")]
    if len(strange) > len(text) / 4 and len(set(strange)) > PACKED / 4:
        return max(len(strange), sum(map(len, runs)))
    return sum(map(len, runs))


def _is_packed(run: str) -> bool:
    if _HEXADECIMAL.fullmatch(run):
        return True
    if "://" in run and len(run) < PACKED:
        return False
    kinds = (str.isupper, str.islower, str.isdigit)
    if not all(any(map(kind, run)) for kind in kinds):
        return False
    counts = Counter(run).values()
    return -sum(n * math.log2(n / len(run)) for n in counts) / len(run) >= ENTROPY_BITS


def _data_reason(node: ast.AST, most: int) -> str:
    """Why a node is data rather than code; empty if it is not.

    ``most`` is how long a text may be that is not packed.
    """
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        values = sum(isinstance(each, ast.Constant | ast.UnaryOp) for each in node.elts)
        return f"holds {values:,} values" if values > MOST_VALUES else ""
    if isinstance(node, ast.Dict):
        return f"holds {len(node.keys):,} keys" if len(node.keys) > MOST_VALUES else ""
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, int) and value.bit_length() > NUMBER_BITS:
        return f"is a number of {value.bit_length()} bits"
    if not isinstance(value, str | bytes):
        return ""
    text = value if isinstance(value, str) else value.decode("latin-1")
    packed = packed_length(text)
    if packed > PACKED:
        return f"holds {packed:,} characters of packed data"
    return f"is a text of {len(text):,} characters" if len(text) > most else ""


def _own_names(node: ast.AST) -> Iterator[str]:
    """Names that a node itself has, as fields."""
    for field in ("id", "attr", "arg", "name", "asname"):
        value = getattr(node, field, None)
        if isinstance(value, str):
            yield value


DECODERS = frozenset(
    {"b64decode", "standard_b64decode", "urlsafe_b64decode", "b32decode", "b16decode", "a85decode"}
    | {"b85decode", "decodebytes", "unhexlify", "fromhex", "decompress", "a2b_base64", "a2b_hex"}
    | {"rot13", "unicode_escape", "raw_unicode_escape", "translate"}
)
RUNNERS = frozenset({"exec", "eval", "compile", "CodeType", "FunctionType"})
LOADERS = frozenset({"marshal", "pickle", "cPickle", "dill", "cloudpickle"})


def _unpacks(node: ast.AST, names: frozenset[str]) -> bool:
    """Whether an expression decodes something, holds packed data or uses such a name."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in names:
            return True
        if isinstance(part, ast.Call) and _called_name(part.func) in DECODERS:
            return True
        if isinstance(part, ast.Constant) and isinstance(part.value, str | bytes):
            text = part.value if isinstance(part.value, str) else part.value.decode("latin-1")
            codec = text.lower().replace("-", "_") in DECODERS
            if codec or packed_length(text) > PACKED / 4:
                return True
    return False


def _unpacked_names(nodes: Iterable[ast.AST]) -> frozenset[str]:
    """Names that are assigned what a file unpacks, directly or by other names."""
    names: set[str] = set()
    for node in nodes:
        value = getattr(node, "value", None)
        targets = [t.id for t in _assignment_targets(node) if isinstance(t, ast.Name)]
        if targets and isinstance(value, ast.expr) and _unpacks(value, frozenset(names)):
            names.update(targets)
    return frozenset(names)


def _runs_unpacked(call: ast.Call, names: frozenset[str]) -> bool:
    """Whether a call runs or loads what the file itself unpacks."""
    name, root = _called_name(call.func), _root_name(call.func)
    plain = isinstance(call.func, ast.Name) or root in ("builtins", "types")
    loads = name in ("loads", "load") and root in LOADERS
    if not (loads or (plain and name in RUNNERS)):
        return False
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    return any(_unpacks(value, names) for value in given)


Offence = tuple[Severity, str, str]


def _offences(
    node: ast.AST, modules: frozenset[str], taken: frozenset[str], contract: EditContract
) -> Iterator[Offence]:
    """Offences of one node: severity, kind and reason.

    ``modules`` are names of the fixed modules, ``taken`` names imported from them.
    """
    if isinstance(node, _ASSIGNING):
        targets = list(_assignment_targets(node))
        yield from _shadows(targets, taken)
    else:
        targets = []
    yield from _patches(node, targets, modules)
    if isinstance(node, _DEFINITIONS) and node.name in taken:
        yield Severity.BLOCK, "evaluator", HIDES
    yield from _prints(node, contract)
    yield from _clocks(node)
    yield from _reaches(node, targets)
    if isinstance(node, ast.Call) and _called_name(node.func) in SEEDING and _literal_seed(node):
        yield Severity.NOTE, "seed", "starts a random stream from a number of its own"


def _patches(
    node: ast.AST, targets: Sequence[ast.expr], modules: frozenset[str]
) -> Iterator[Offence]:
    """Assignments into other modules, by attribute, ``setattr`` or ``sys.modules``."""
    roots = [_root_name(target) for target in targets if isinstance(target, ast.Attribute)]
    called = _called_name(node.func) if isinstance(node, ast.Call) else ""
    if isinstance(node, ast.Call) and called in ("setattr", "delattr") and node.args:
        roots.append(_root_name(node.args[0]))
    for root in roots:
        if root in modules:
            yield Severity.BLOCK, "evaluator", f"replaces a part of the fixed module {root}"
        elif root in CLOCKS:
            yield Severity.BLOCK, "clock", "replaces a clock"
    for target in targets:
        if _dotted(target).startswith("sys.modules"):
            yield Severity.BLOCK, "evaluator", "replaces a module"
        elif _dotted(target).startswith(("builtins.", "__builtins__")):
            yield Severity.BLOCK, "evaluator", "replaces a builtin"
    if called == "reload":
        yield Severity.BLOCK, "evaluator", "loads a module again"


HIDES = "hides what the fixed files provide under that name"


def _shadows(targets: Iterable[ast.expr], taken: frozenset[str]) -> Iterator[Offence]:
    """Assignments that hide what was imported from a fixed file."""
    for target in targets:
        if isinstance(target, ast.Name) and target.id in taken:
            kind = "seed" if target.id.upper() == "SEED" else "evaluator"
            yield Severity.BLOCK, kind, HIDES


def _prints(node: ast.AST, contract: EditContract) -> Iterator[Offence]:
    """Text that the harness would take for a result."""
    if isinstance(node, ast.Call) and _called_name(node.func) in PRINTING:
        words = [
            part.value
            for part in ast.walk(node)
            if isinstance(part, ast.Constant) and isinstance(part.value, str)
        ]
        if any(contract.metric in word or word.strip() == "---" for word in words):
            yield Severity.BLOCK, "metric", f"prints {contract.metric} or a summary of its own"
        for name in contract.printed:
            if any(name in word for word in words):
                yield Severity.BLOCK, "summary", f"prints {name} of its own"


def _clocks(node: ast.AST) -> Iterator[Offence]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        if _imported_names(node) & CLOCKS:
            yield Severity.NOTE, "clock", "reads a clock of its own"
    elif isinstance(node, ast.Call) and _called_name(node.func) in CLOCK_CALLS:
        yield Severity.NOTE, "clock", "waits, or sets a clock"


def _reaches(node: ast.AST, targets: Iterable[ast.expr]) -> Iterator[Offence]:
    """Uses of things outside the training."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        roots = _imported_names(node) & OUTSIDE
        if roots:
            yield Severity.NOTE, "outside", f"imports {', '.join(sorted(roots))}"
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        if EVALUATOR_NAME in node.value:
            yield Severity.BLOCK, "evaluator", "speaks to the evaluator in the fixed files' place"
        elif node.value.startswith("/proc/"):
            yield Severity.NOTE, "outside", "reads the process table"
    elif isinstance(node, ast.Attribute) and node.attr in INTROSPECTION:
        yield Severity.BLOCK, "evaluator", "looks into other frames or objects"
    elif isinstance(node, ast.Call) and _called_name(node.func) in OUTSIDE_CALLS:
        method = isinstance(node.func, ast.Attribute) and _root_name(node.func) not in (
            "os",
            "builtins",
        )
        if not (method and _called_name(node.func) in ("eval", "compile", "remove")):
            yield Severity.NOTE, "outside", f"calls {_called_name(node.func)}"
    for target in targets:
        if _dotted(target).startswith("os.environ"):
            yield Severity.NOTE, "outside", "changes the environment"


def _literal_seed(call: ast.Call) -> bool:
    values: Iterable[ast.expr] = [*call.args, *(k.value for k in call.keywords)]
    return any(isinstance(v, ast.Constant) and isinstance(v.value, int) for v in values)


def _parse_python(name: str, text: str) -> ast.Module | None:
    """The tree of a Python file; ``None`` for other files and broken code."""
    if not name.endswith(".py"):
        return None
    try:
        return parse_python(text)
    except SourceError:
        return None


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_ASSIGNING = (
    ast.Assign,
    ast.AugAssign,
    ast.AnnAssign,
    ast.NamedExpr,
    ast.For,
    ast.AsyncFor,
    ast.Delete,
    ast.withitem,
)


def _assignment_targets(node: ast.AST) -> Iterator[ast.expr]:
    """Targets that a statement assigns to, tuples taken apart."""
    if isinstance(node, ast.Assign):
        todo: list[ast.expr] = list(node.targets)
    elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.NamedExpr | ast.For | ast.AsyncFor):
        todo = [node.target]
    elif isinstance(node, ast.Delete):
        todo = list(node.targets)
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        todo = [node.optional_vars]
    else:
        return
    while todo:
        target = todo.pop()
        if isinstance(target, ast.Tuple | ast.List):
            todo += target.elts
        elif isinstance(target, ast.Starred):
            todo.append(target.value)
        else:
            yield target


def _imported_names(node: ast.Import | ast.ImportFrom) -> set[str]:
    """First parts of the modules that a statement imports."""
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").split(".")[0]}
    return {alias.name.split(".")[0] for alias in node.names}


def _called_name(node: ast.expr) -> str:
    """Last part of a called name: ``np.random.seed`` is ``seed``."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _dotted(node: ast.expr) -> str:
    """A name with its attributes, subscripts left out; empty for another expression."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute | ast.Subscript):
        if isinstance(node, ast.Attribute):
            parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _root_name(node: ast.expr) -> str:
    """First part of a dotted or subscripted name."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _shown_code(node: ast.AST) -> str:
    """The code of a node on one line, cut; of a large one its kind and name."""
    if sum(1 for _ in itertools.islice(ast.walk(node), MOST_SHOWN_NODES)) < MOST_SHOWN_NODES:
        return _cut(" ".join(ast.unparse(node).split()))
    name = _called_name(node.func) if isinstance(node, ast.Call) else getattr(node, "name", "")
    return _cut(f"{type(node).__name__} {name}".strip())


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"
