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
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ratchet.base.structs import Frozen, replace
from ratchet.base.text import LINE_LIMIT, one_line, shorten
from ratchet.records.proposals import Proposal
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

CLOCKS = ("time", "datetime")
CLOCK_CALLS = frozenset({"sleep", "setitimer", "alarm", "clock_settime", "settimeofday"})
PRINTING = frozenset({"print", "write", "writelines", "debug", "info", "warning", "error"})

OUTSIDE = frozenset(
    {"subprocess", "socket", "ctypes", "multiprocessing", "urllib", "http", "requests", "pty"}
    | {"importlib", "inspect", "gc", "signal", "atexit", "pickle", "shutil", "mmap", "resource"}
    | {"builtins", "codecs", "marshal", "runpy", "fcntl"}
)
"""Modules that lead out of the training: to other processes, machines and frames."""

OUTSIDE_CALLS = frozenset(
    {"exec", "eval", "compile", "__import__", "open", "fork", "setsid", "system", "popen", "kill"}
    | {"dup2", "chmod", "remove", "unlink", "rename", "write_text", "write_bytes", "putenv"}
)
INTROSPECTION = frozenset(
    {"_getframe", "_current_frames", "currentframe", "f_back", "f_locals", "f_globals"}
    | {"f_builtins", "tb_frame", "gi_frame", "cr_frame", "get_objects", "get_referrers"}
    | {"__subclasses__", "__globals__", "__code__", "__closure__", "cell_contents"}
    | {"settrace", "setprofile"}
)
"""Names by which code looks into other frames, functions and objects."""


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
    reading = _Reading(tree, nodes, contract)
    for node in nodes:
        line = getattr(node, "lineno", 1)
        for severity, kind, reason in reading.offences(node):
            yield Flag(severity, kind, file, line, _shown_code(node), reason)
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


def _data_flags(file: str, text: str, nodes: Sequence[ast.AST]) -> Iterator[Flag]:
    """Notes on what is hard to read: data in literals and comments, long lines, odd names."""

    def note(kind: str, line: int, shown: str, reason: str) -> Flag:
        return Flag(Severity.NOTE, kind, file, line, _cut(" ".join(shown.split())), reason)

    documents = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        reason = _data_reason(node, MOST_DOCUMENTED if id(node) in documents else LITERAL_LIMIT)
        if reason:
            value = node.value if isinstance(node, ast.Constant) else type(node).__name__
            yield note("data", getattr(node, "lineno", 1), f"{value!s:.{TEXT_LIMIT}}", reason)
    for comments in _COMMENTS.finditer(text):
        reason = _text_reason(comments[0], LITERAL_LIMIT)
        if reason:
            place = text.count("\n", 0, comments.start()) + 1
            yield note("data", place, comments[0], f"is a comment that {reason}")
    for number, row in enumerate(text.split("\n"), 1):
        if len(row) > LINE_LIMIT:
            yield note("line", number, row.strip(), f"is a line of {len(row):,} characters")
    if not text.isascii():
        names = set(itertools.chain.from_iterable(map(_own_names, nodes)))
        odd = {word for word in _WORD.findall(text) if not word.isascii()}
        # Python reads letters of other widths and styles as the plain ones.
        read = {word: unicodedata.normalize("NFKC", word) for word in odd}
        plain = {word for word in odd if read[word].isascii() and read[word] in names}
        for word in sorted(plain | {name for name in names & odd if _LOOKALIKES.search(name)}):
            yield note("name", 1, word, "is a name with letters that look like others")


LITERAL_LIMIT = 1000
"""Characters of a literal or a comment that says something; a longer one is data."""

MOST_DOCUMENTED = 4000
"""Characters of a docstring that is noted; one file in seven has one of 1,000."""

MOST_VALUES = 250
"""Values of one list or dictionary; more are data."""

NUMBER_BITS = 512
"""Bits of a number that measures or seeds nothing any more."""

PACKED = 200
"""Characters of packed data that are noted: a digest or a key has fewer, a program more."""

_COMMENTS = re.compile(r"(?m)(?:^[ \t]*#.*\n?)+")
_WORD = re.compile(r"\w+")
_RUN = re.compile(r"[!-~]{40,}")
# Letters of other alphabets that look like Latin ones; those that formulas use are left out.
_LOOKALIKES = re.compile(
    "[\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0455\u0456\u0458\u04bb\u0501\u051b\u051d"
    "\u0410\u0412\u0415\u0405\u0406\u0408\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03bf"
    "\u0585\u0578\u057d\u0570\u0261\u0269\u1d0f]"
)
# Letters and marks that names may have and nobody sees.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def _data_reason(node: ast.AST, most: int) -> str:
    """Why a node is data rather than code; empty if it is not.

    ``most`` is how long a text may be that is not packed.
    """
    if isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict):
        values = len(node.keys if isinstance(node, ast.Dict) else node.elts)
        return f"holds {values:,} values" if values > MOST_VALUES else ""
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, int) and value.bit_length() > NUMBER_BITS:
        return f"is a number of {value.bit_length()} bits"
    if isinstance(value, bytes):
        return f"holds {len(value):,} bytes" if len(value) > PACKED else ""
    return _text_reason(value, most) if isinstance(value, str) else ""


def _text_reason(text: str, most: int) -> str:
    packed = sum(len(run) for run in _RUN.findall(text) if _is_packed(run))
    if packed > PACKED:
        return f"holds {packed:,} characters of packed data"
    return f"has {len(text):,} characters" if len(text) > most else ""


def _is_packed(run: str) -> bool:
    """Whether characters without blanks are encoded bytes: letters and digits mixed."""
    address = "://" in run and len(run) <= PACKED
    return any(map(str.isdigit, run)) and any(map(str.isalpha, run)) and not address


def _own_names(node: ast.AST) -> Iterator[str]:
    """Names that a node itself has, as fields."""
    for field in ("id", "attr", "arg", "name", "asname"):
        value = getattr(node, field, None)
        if isinstance(value, str):
            yield value


Offence = tuple[Severity, str, str]

HIDES = "hides what the fixed files provide under that name"
UNPACKS = "runs code that is not in the file as code"

_FIXED = "fixed file "
"""Begins the path of what is imported from a fixed file; no name of Python's does."""

_SETTERS = frozenset({"setattr", "delattr", "__setattr__", "__delattr__", "object"})
_CHANGERS = frozenset({"update", "setdefault", "pop", "clear", "__setitem__", "__delitem__"})
_TABLES = ("globals", "locals", "vars")
_LOADERS = frozenset(
    {"marshal.loads", "marshal.load", "types.FunctionType", "types.CodeType", "code.interact"}
    | {"runpy.run_path", "runpy.run_module", "importlib.util.spec_from_file_location"}
    | {"code.InteractiveInterpreter", "code.InteractiveConsole"}
)
_PICKLES = ("pickle.loads", "_pickle.loads", "dill.loads", "cloudpickle.loads")
_DECODERS = frozenset(
    {"decompress", "b64decode", "b85decode", "a85decode", "fromhex", "unhexlify", "decode"}
)
_BUILTINS = ("builtins", "__builtins__")


class _Reading:
    """What the names of one file stand for, and the offences of its nodes."""

    def __init__(self, tree: ast.Module, nodes: Sequence[ast.AST], contract: EditContract) -> None:
        self.contract = contract
        self.written = re.compile(rf"\b{re.escape(contract.metric)}\s*[:=]")
        # Texts that a flag is on already, or that document.
        self.told: set[int] = set()
        self.called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
        documents = [node.value for node in nodes if isinstance(node, ast.Expr)]
        self.told |= {id(node) for node in documents if isinstance(node, ast.Constant)}
        # What a file defines under a builtin's name is its own.
        self.names = {n.name: f"own {n.name}" for n in tree.body if isinstance(n, _DEFINITIONS)}
        for node in nodes:
            for name, path in _imported(node):
                fixed = any(_is_part(path, module) for module in contract.modules)
                if fixed or not self.names.get(name, "").startswith(_FIXED):
                    self.names[name] = f"{_FIXED}{path}" if fixed else path

    def path(self, node: ast.AST) -> str:
        """What an expression names, as a dotted path that begins with an import or a builtin.

        Items are left out: a part of a thing is that thing.  Empty for what has no name.
        """
        match node:
            case ast.Name(id=name):
                return self.names.get(name, name)
            case ast.Attribute(value=value, attr=name):
                return self._part(value, name)
            case ast.Call(func=ast.Name("getattr"), args=[value, ast.Constant(str(name)), *_]):
                return self._part(value, name)
            case ast.Call(func=ast.Name("vars"), args=[value]):
                return self.path(value)
            case ast.Subscript(ast.Call(ast.Name(table), []), ast.Constant(str(name))):
                return self.names.get(name, name) if table in _TABLES else ""
            case ast.Subscript(value=value):
                return self.path(value)
        return ""

    def _part(self, value: ast.AST, name: str) -> str:
        path = self.path(value)
        return name if path in _BUILTINS else path and f"{path}.{name}"

    def offences(self, node: ast.AST) -> Iterator[Offence]:
        """Offences of one node: severity, kind and reason."""
        targets = list(_assignment_targets(node))
        called = _called_name(node.func) if isinstance(node, ast.Call) else ""
        yield from self._bindings(node, targets)
        parts = [target for target in targets if not isinstance(target, ast.Name)]
        for thing in [*parts, *_changed(node, called)]:
            yield from self._replacements(thing)
        if isinstance(node, ast.Call):
            yield from self._calls(node, called)
        yield from self._reaches(node, targets)
        if any(map(_UNSEEN.search, _own_names(node))):
            yield Severity.BLOCK, "hidden", "is a name with letters that nobody sees"

    def _bindings(self, node: ast.AST, targets: Iterable[ast.expr]) -> Iterator[Offence]:
        """Names that hide what was imported from a fixed file."""
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if isinstance(node, (*_DEFINITIONS, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
            names += [node.name] if node.name else []
        names += [name for name, path in _imported(node) if f"{_FIXED}{path}" != self.names[name]]
        for name in names:
            if self.names.get(name, "").startswith(_FIXED):
                yield Severity.BLOCK, "seed" if name.upper() == "SEED" else "evaluator", HIDES

    def _replacements(self, thing: ast.expr) -> Iterator[Offence]:
        """Changes of what fixed files, modules and builtins hold."""
        path = self.path(thing)
        whole = self.path(thing.value) if isinstance(thing, ast.Attribute) else path
        if path.startswith(_FIXED):
            name = path.removeprefix(_FIXED)
            yield Severity.BLOCK, "evaluator", f"replaces a part of the fixed files ({name})"
        elif _is_part(path, "sys.modules"):
            yield Severity.BLOCK, "evaluator", "replaces a module"
        elif whole in _BUILTINS:
            yield Severity.BLOCK, "evaluator", "replaces a builtin"
        elif path.split(".")[0] in CLOCKS:
            yield Severity.BLOCK, "clock", "replaces a clock"

    def _calls(self, node: ast.Call, called: str) -> Iterator[Offence]:
        path = self.path(node.func)
        if called in PRINTING or path in PRINTING:
            yield from self._results(node)
        if called == "reload":
            yield Severity.BLOCK, "evaluator", "loads a module again"
        if called == "patch":
            roots = {text.split(".")[0] for _, text in _texts_in(node)}
            for kind, modules in (("evaluator", self.contract.modules), ("clock", set(CLOCKS))):
                if roots & modules:
                    yield Severity.BLOCK, kind, "replaces a part of a module by its name"
        if called in _CHANGERS and self._changes_names(node):
            yield Severity.BLOCK, "evaluator", HIDES
        if self._runs_data(node, path):
            yield Severity.BLOCK, "hidden", UNPACKS
        elif called in CLOCK_CALLS:
            yield Severity.NOTE, "clock", "waits, or sets a clock"
        elif called in OUTSIDE_CALLS and self._is_outside(node.func, called):
            yield Severity.NOTE, "outside", f"calls {called}"
        if called in SEEDING and _literal_seed(node):
            yield Severity.NOTE, "seed", "starts a random stream from a number of its own"

    def _results(self, node: ast.Call) -> Iterator[Offence]:
        """Printed texts that the harness would take for a result."""
        words = list(_texts_in(node))
        metric = self.contract.metric
        printed = [n for n in self.contract.printed if any(n in text for _, text in words)]
        if any(metric in text or text.strip() == "---" for _, text in words):
            self.told |= {id(part) for part, _ in words}
            yield Severity.BLOCK, "metric", f"prints {metric} or a summary of its own"
        elif printed:
            yield Severity.BLOCK, "summary", f"prints {printed[0]} of its own"

    def _changes_names(self, node: ast.Call) -> bool:
        """Whether a call puts something into the table of all names, as an assignment would."""
        table = node.func.value if isinstance(node.func, ast.Attribute) else None
        if not isinstance(table, ast.Call) or self.path(table.func) not in _TABLES:
            return False
        names = [*(text for _, text in _texts_in(node)), *(key.arg or "" for key in node.keywords)]
        return any(self.names.get(name, "").startswith(_FIXED) for name in names)

    def _runs_data(self, node: ast.Call, path: str) -> bool:
        """Whether a call runs a text or bytes."""
        if path == "compile":  # torch.compile takes a model alone
            return len(node.args) + len(node.keywords) > 1
        if path in _PICKLES:  # a copy is made by loads(dumps(...))
            calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)]
            named = {self.path(call.func).rpartition(".")[2] for call in calls}
            return bool(named & _DECODERS) or any(True for _ in _texts_in(node))
        return path in ("exec", "eval", *_LOADERS)

    def _is_outside(self, function: ast.expr, called: str) -> bool:
        method = isinstance(function, ast.Attribute) and self.path(function.value) != "os"
        return not (method and called in ("eval", "compile", "remove"))

    def _reaches(self, node: ast.AST, targets: Iterable[ast.expr]) -> Iterator[Offence]:
        """Uses of things outside the training, and of texts that the harness would read."""
        roots = {path.split(".")[0] for _, path in _imported(node)}
        if roots & set(CLOCKS):
            yield Severity.NOTE, "clock", "reads a clock of its own"
        if roots & OUTSIDE:
            yield Severity.NOTE, "outside", f"imports {', '.join(sorted(roots & OUTSIDE))}"
        name = node.attr if isinstance(node, ast.Attribute) else ""
        for text in _text_of(node):
            name = text
            if EVALUATOR_NAME in text:
                yield Severity.BLOCK, "evaluator", "speaks to the evaluator for the fixed files"
            elif text.startswith("/proc/"):
                yield Severity.NOTE, "outside", "reads the process table"
            elif id(node) not in self.told and self.written.search(text):
                yield Severity.BLOCK, "metric", f"writes {self.contract.metric} as a result"
        if name in INTROSPECTION:
            yield Severity.BLOCK, "evaluator", "looks into other frames or objects"
        handed_on = isinstance(node, ast.Name | ast.Attribute) and id(node) not in self.called
        if handed_on and self.path(node) in ("exec", "eval"):
            yield Severity.BLOCK, "hidden", UNPACKS
        for target in targets:
            if _is_part(self.path(target), "os.environ"):
                yield Severity.NOTE, "outside", "changes the environment"


def _imported(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Names that an import binds, each with the dotted path that it stands for."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            first = alias.name.split(".")[0]
            yield alias.asname or first, alias.name if alias.asname else first
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name, f"{node.module or ''}.{alias.name}"


def _is_part(path: str, whole: str) -> bool:
    return path == whole or path.startswith(f"{whole}.")


def _changed(node: ast.AST, called: str) -> Iterator[ast.expr]:
    """What a call changes in place."""
    if isinstance(node, ast.Call):
        if called in _SETTERS:
            yield from node.args[:1]
        if called in _SETTERS | _CHANGERS and isinstance(node.func, ast.Attribute):
            yield node.func.value


def _text_of(node: ast.AST) -> Iterator[str]:
    """The text of a constant."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        value = node.value
        yield value if isinstance(value, str) else value.decode("latin-1")


def _texts_in(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """All constants within a node that are texts, with these."""
    return ((part, text) for part in ast.walk(node) for text in _text_of(part))


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


def _called_name(node: ast.expr) -> str:
    """Last part of a called name: ``np.random.seed`` is ``seed``."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _shown_code(node: ast.AST) -> str:
    """The code of a node on one line, cut; of a large one its kind and name."""
    if sum(1 for _ in itertools.islice(ast.walk(node), MOST_SHOWN_NODES)) < MOST_SHOWN_NODES:
        return _cut(" ".join(ast.unparse(node).split()))
    name = _called_name(node.func) if isinstance(node, ast.Call) else getattr(node, "name", "")
    return _cut(f"{type(node).__name__} {name}".strip())


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"
