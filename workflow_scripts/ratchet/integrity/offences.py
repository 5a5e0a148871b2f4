"""The things in a candidate's code that may be an offence, found one by one."""

from __future__ import annotations

import ast
import enum
from collections.abc import Iterable, Iterator

from ratchet.codec import Frozen
from ratchet.integrity.syntax import called, imported, root, targets


class Severity(enum.StrEnum):
    """Whether a flag keeps the candidate from being run."""

    BLOCK = "block"
    NOTE = "note"


class Contract(Frozen):
    """What a task fixes: its fixed files, and the metric that decides.

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


SEEDING = frozenset(
    {"seed", "manual_seed", "manual_seed_all", "default_rng", "RandomState", "SeedSequence"}
    | {"Random", "PCG64", "Philox", "MT19937", "PRNGKey"}
)
"""Functions that start a random stream: of random, numpy, torch and JAX."""

EVALUATOR_NAME = "RATCHET_EVALUATOR"
"""Prefix of the variables by which the fixed files reach the evaluator."""

CLOCKS = frozenset({"time", "datetime"})
CLOCK_CALLS = frozenset({"sleep", "setitimer", "alarm", "clock_settime", "settimeofday"})
# Ways out of the file: other processes, other machines, other people's frames.
OUTSIDE = frozenset(
    {"subprocess", "socket", "ctypes", "multiprocessing", "urllib", "http", "requests", "pty"}
    | {"importlib", "inspect", "gc", "signal", "atexit", "pickle", "shutil", "mmap", "resource"}
)
OUTSIDE_CALLS = frozenset(
    {"exec", "eval", "compile", "__import__", "open", "fork", "setsid", "system", "popen", "kill"}
    | {"dup2", "chmod", "remove", "unlink", "rename", "write_text", "write_bytes", "putenv"}
)
INTROSPECTION = frozenset({"_getframe", "get_objects", "get_referrers", "f_locals", "f_globals"})


def imports(tree: ast.Module, contract: Contract) -> tuple[frozenset[str], frozenset[str]]:
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


def offences(
    node: ast.AST, modules: frozenset[str], taken: frozenset[str], contract: Contract
) -> Iterator[Offence]:
    yield from _patches(node, modules)
    yield from _shadows(node, taken)
    yield from _prints(node, contract)
    yield from _clocks(node)
    yield from _reaches(node)
    if isinstance(node, ast.Call) and called(node.func) in SEEDING and literal_seed(node):
        yield Severity.NOTE, "seed", "starts a random stream from a number of its own"


def _patches(node: ast.AST, modules: frozenset[str]) -> Iterator[Offence]:
    """Assignments into other modules, by attribute, ``setattr`` or ``sys.modules``."""
    for target in targets(node):
        base = root(target)
        if isinstance(target, ast.Attribute) and base in modules:
            yield Severity.BLOCK, "evaluator", f"replaces a part of the fixed module {base}"
        elif isinstance(target, ast.Attribute) and base in CLOCKS:
            yield Severity.BLOCK, "clock", "replaces a clock"
        elif isinstance(target, ast.Subscript) and ast.unparse(target.value) == "sys.modules":
            yield Severity.BLOCK, "evaluator", "replaces a module"
        elif ast.unparse(target).startswith(("builtins.", "__builtins__")):
            yield Severity.BLOCK, "evaluator", "replaces a builtin"
    if isinstance(node, ast.Call) and called(node.func) in ("setattr", "delattr") and node.args:
        base = root(node.args[0])
        if base in modules:
            yield Severity.BLOCK, "evaluator", f"replaces a part of the fixed module {base}"
        elif base in CLOCKS:
            yield Severity.BLOCK, "clock", "replaces a clock"
    if isinstance(node, ast.Call) and called(node.func) == "reload":
        yield Severity.BLOCK, "evaluator", "loads a module again"


def _shadows(node: ast.AST, taken: frozenset[str]) -> Iterator[Offence]:
    """Definitions that hide what was imported from a fixed file."""
    reason = "hides what the fixed files provide under that name"
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        if node.name in taken:
            yield Severity.BLOCK, "evaluator", reason
        return
    for target in targets(node):
        if isinstance(target, ast.Name) and target.id in taken:
            kind = "seed" if target.id.upper() == "SEED" else "evaluator"
            yield Severity.BLOCK, kind, reason


def _prints(node: ast.AST, contract: Contract) -> Iterator[Offence]:
    """Text that the harness would take for a result."""
    if isinstance(node, ast.Call) and called(node.func) in ("print", "write", "writelines", "info"):
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
        roots = imported(node)
        if roots & CLOCKS:
            yield Severity.NOTE, "clock", "reads a clock of its own"
    elif isinstance(node, ast.Call) and called(node.func) in CLOCK_CALLS:
        yield Severity.NOTE, "clock", "waits, or sets a clock"


def _reaches(node: ast.AST) -> Iterator[Offence]:
    """Uses of things outside the training."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        roots = imported(node) & OUTSIDE
        if roots:
            yield Severity.NOTE, "outside", f"imports {', '.join(sorted(roots))}"
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        if EVALUATOR_NAME in node.value:
            yield Severity.BLOCK, "evaluator", "speaks to the evaluator in the fixed files' place"
        elif node.value.startswith("/proc/"):
            yield Severity.NOTE, "outside", "reads the process table"
    elif isinstance(node, ast.Attribute) and node.attr in INTROSPECTION:
        yield Severity.BLOCK, "evaluator", "looks into other frames or objects"
    elif isinstance(node, ast.Call) and called(node.func) in OUTSIDE_CALLS:
        method = isinstance(node.func, ast.Attribute) and root(node.func) not in ("os", "builtins")
        if not (method and called(node.func) in ("eval", "compile", "remove")):
            yield Severity.NOTE, "outside", f"calls {called(node.func)}"
    for target in targets(node):
        if ast.unparse(target).startswith("os.environ"):
            yield Severity.NOTE, "outside", "changes the environment"


def literal_seed(call: ast.Call) -> bool:
    values: Iterable[ast.expr] = [*call.args, *(k.value for k in call.keywords)]
    return any(isinstance(v, ast.Constant) and isinstance(v.value, int) for v in values)
