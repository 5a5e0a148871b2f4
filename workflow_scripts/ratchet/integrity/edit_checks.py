"""Checks of an edit by reading its code: what it may not do if its measurement is to count.

The mutable files of a candidate are compared with the baseline's as syntax trees;
only what is *new* counts, so that code which the task itself ships is never an
offence.  A blocking flag means that the run would measure something else than the
others did: the candidate is not run and its verdict is TAMPERED.  A note is shown
in the report and decides nothing.

This reads code, it does not prove anything: Python can hide any call from it.  What
it stops is the plain cheat and the honest mistake; the rest is caught from outside,
by hashes, by the served evaluation and by isolation.
"""

import ast
import enum
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from ratchet.base.structs import Frozen
from ratchet.base.text import one_line
from ratchet.records.records import Proposal
from ratchet.session import Session
from ratchet.task.edits import UNREADABLE, find_value, parse_python

TEXT_LIMIT = 80
"""Characters of code that a flag shows."""

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


def inspect_proposal(session: Session, proposal: Proposal) -> tuple[str, tuple[str, ...]]:
    """Reason not to run a proposal (empty if it may be run), and notes on its edit.

    It is compared with the baseline, and with its parent for what it changes.
    """
    outside = sorted(set(proposal.files) - set(session.task.mutable))
    if outside:
        return f"changes {outside[0]}, which is none of the mutable files", ()
    texts, constant = session.texts(proposal.files), session.task.seeding.constant
    if constant and all(find_value(name, text, constant) is None for name, text in texts.items()):
        return f"no longer sets {constant}, by which the harness gives the seed", ()
    blocked, noticed = edit_faults(session, proposal.files)
    notes = (*proposal.notes, *noticed)
    if blocked:
        return blocked, notes
    parent = session.state(proposal.round - 1).incumbent.files
    if only_reseeds(session.texts(parent), texts):
        return RESEEDS, notes
    return "", notes


def edit_faults(session: Session, sources: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Faults of some mutable files that would bend the measurement (or empty), and notes.

    Only what the session's baseline does not do itself.
    """
    task, baseline = session.task, session.texts(session.baseline_files)
    contract = EditContract(tuple(task.fixed), task.metric.name, task.printed)
    flags = edit_flags(baseline, session.texts(sources), contract)
    notes = tuple(one_line(str(flag)) for flag in flags if flag.severity is Severity.NOTE)
    blocking = (one_line(str(flag)) for flag in flags if flag.severity is Severity.BLOCK)
    return "; ".join(blocking), notes


def edit_flags(
    baseline: Mapping[str, str], candidate: Mapping[str, str], contract: EditContract
) -> tuple[Flag, ...]:
    """All flags of an edit, blocking ones first.

    Both arguments map mutable files to their text.  Files that are not Python,
    and Python that does not parse, are passed over: the former are data, the
    latter will fail when it is run.
    """
    flags: list[Flag] = []
    for name, text in sorted(candidate.items()):
        tree = _parse_python(name, text)
        if tree is None:
            continue
        before = _parse_python(name, baseline.get(name, "")) or ast.Module([], [])
        old = Counter((flag.kind, flag.text) for flag in _flags(name, before, contract))
        for flag in _flags(name, tree, contract):
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
    differs = False
    for name in parent:
        old, new = _parse_python(name, parent[name]), _parse_python(name, candidate[name])
        if old is None or new is None:
            if parent[name] != candidate[name]:
                return False
            continue
        differs |= ast.dump(old) != ast.dump(new)
        if ast.dump(_Unseeded().visit(old)) != ast.dump(_Unseeded().visit(new)):
            return False
    return differs


def _flags(file: str, tree: ast.Module, contract: EditContract) -> Iterator[Flag]:
    """Flags of one file, whether they are new or not."""
    aliases, taken = _fixed_names(tree, contract)
    for node in ast.walk(tree):
        for severity, kind, reason in _offences(node, aliases, taken, contract):
            line = getattr(node, "lineno", 1)
            yield Flag(severity, kind, file, line, _shown_code(node), reason)


def _lost_seed(
    file: str, before: ast.Module, after: ast.Module, contract: EditContract
) -> Iterator[Flag]:
    """The baseline starts its random streams from the harness's seed; this does not."""
    names = {
        alias.asname or alias.name
        for node in ast.walk(before)
        if isinstance(node, ast.ImportFrom) and node.module in contract.modules
        for alias in node.names
        if alias.name.upper() == "SEED"
    }
    for name in sorted(names & _used(before) - _used(after)):
        reason = "no longer uses the seed that the harness gives"
        yield Flag(Severity.BLOCK, "seed", file, 1, name, reason)


def _used(tree: ast.Module) -> set[str]:
    """All names that code reads, imports apart."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


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


def _fixed_names(tree: ast.Module, contract: EditContract) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the fixed modules in this file, and names imported from them."""
    modules, names = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in contract.modules:
                    modules.add(alias.asname or alias.name.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.module in contract.modules:
            names |= {alias.asname or alias.name for alias in node.names}
    return frozenset(modules), frozenset(names)


Offence = tuple[Severity, str, str]


def _offences(
    node: ast.AST, modules: frozenset[str], taken: frozenset[str], contract: EditContract
) -> Iterator[Offence]:
    """Offences of one node: severity, kind and reason.

    ``modules`` are names of the fixed modules, ``taken`` names imported from them.
    """
    yield from _patches(node, modules)
    yield from _shadows(node, taken)
    yield from _prints(node, contract)
    yield from _clocks(node)
    yield from _reaches(node)
    if isinstance(node, ast.Call) and _called_name(node.func) in SEEDING and _literal_seed(node):
        yield Severity.NOTE, "seed", "starts a random stream from a number of its own"


def _patches(node: ast.AST, modules: frozenset[str]) -> Iterator[Offence]:
    """Assignments into other modules, by attribute, ``setattr`` or ``sys.modules``."""
    targets = list(_assignment_targets(node))
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
        if isinstance(target, ast.Subscript) and ast.unparse(target.value) == "sys.modules":
            yield Severity.BLOCK, "evaluator", "replaces a module"
        elif ast.unparse(target).startswith(("builtins.", "__builtins__")):
            yield Severity.BLOCK, "evaluator", "replaces a builtin"
    if called == "reload":
        yield Severity.BLOCK, "evaluator", "loads a module again"


def _shadows(node: ast.AST, taken: frozenset[str]) -> Iterator[Offence]:
    """Definitions that hide what was imported from a fixed file."""
    reason = "hides what the fixed files provide under that name"
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        if node.name in taken:
            yield Severity.BLOCK, "evaluator", reason
        return
    for target in _assignment_targets(node):
        if isinstance(target, ast.Name) and target.id in taken:
            kind = "seed" if target.id.upper() == "SEED" else "evaluator"
            yield Severity.BLOCK, kind, reason


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


def _reaches(node: ast.AST) -> Iterator[Offence]:
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
    for target in _assignment_targets(node):
        if ast.unparse(target).startswith("os.environ"):
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
    except UNREADABLE:
        return None


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


def _root_name(node: ast.expr) -> str:
    """First part of a dotted or subscripted name."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _shown_code(node: ast.AST) -> str:
    """The code of a node on one line, cut."""
    try:
        text = " ".join(ast.unparse(node).split())
    except (RecursionError, ValueError):
        text = type(node).__name__
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"
