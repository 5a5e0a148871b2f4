"""What an edit touches that an edit has no business to touch.

The mutable files of a candidate are compared with the baseline's as syntax
trees; only what is *new* counts, so that code which the task itself ships is
never an offence.  A blocking flag means that the run would measure something
else than the others did: the candidate is not run and its verdict is TAMPERED.
A note is shown in the report and decides nothing.

This reads code, it does not prove anything: Python can hide any call from it.
What it stops is the plain cheat and the honest mistake; the rest is caught from
outside, by hashes, by the served evaluation and by isolation.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping

from ratchet.codec import Frozen
from ratchet.integrity.offences import SEEDING, Contract, Severity, imports, offences
from ratchet.integrity.syntax import called, parsed, shown


class Flag(Frozen):
    """One finding; ``line`` counts from 1 in the candidate's ``file``."""

    severity: Severity
    kind: str
    file: str
    line: int
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason} ({self.text})"


def flags(
    baseline: Mapping[str, str], candidate: Mapping[str, str], contract: Contract
) -> tuple[Flag, ...]:
    """All flags of an edit, blocking ones first.

    Both arguments map mutable files to their text.  Files that are not Python,
    and Python that does not parse, are passed over: the former are data, the
    latter will fail when it is run.
    """
    found: list[Flag] = []
    for name, text in sorted(candidate.items()):
        tree = parsed(name, text)
        if tree is None:
            continue
        before = parsed(name, baseline.get(name, "")) or ast.Module([], [])
        old = Counter(_identity(f) for f in _found(name, before, contract))
        for flag in _found(name, tree, contract):
            if old[_identity(flag)] > 0:
                old[_identity(flag)] -= 1
            else:
                found.append(flag)
        found += _lost_seed(name, before, tree, contract)
    return tuple(sorted(found, key=lambda f: (f.severity is not Severity.BLOCK, f.file, f.line)))


def only_reseeds(parent: Mapping[str, str], candidate: Mapping[str, str]) -> bool:
    """Whether two versions differ in nothing but how random streams are started.

    Such an edit draws another lot and calls it an improvement.  Comments and
    layout do not count as a difference.
    """
    if parent == candidate or parent.keys() != candidate.keys():
        return False
    differs = False
    for name in parent:
        old, new = parsed(name, parent[name]), parsed(name, candidate[name])
        if old is None or new is None:
            if parent[name] != candidate[name]:
                return False
            continue
        differs |= ast.dump(old) != ast.dump(new)
        if ast.dump(_Unseeded().visit(old)) != ast.dump(_Unseeded().visit(new)):
            return False
    return differs


def _identity(flag: Flag) -> tuple[str, str]:
    return flag.kind, flag.text


def _found(file: str, tree: ast.Module, contract: Contract) -> Iterator[Flag]:
    """Everything in one file that could be a flag, whether it is new or not."""
    aliases, taken = imports(tree, contract)
    for node in ast.walk(tree):
        for severity, kind, reason in offences(node, aliases, taken, contract):
            line = getattr(node, "lineno", 1)
            yield Flag(severity, kind, file, line, shown(node), reason)


def _lost_seed(
    file: str, before: ast.Module, after: ast.Module, contract: Contract
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
        if called(node.func) in SEEDING:
            node.args, node.keywords = [], []
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        self.generic_visit(node)
        named = [t.id for t in node.targets if isinstance(t, ast.Name)]
        if any("seed" in name.lower() for name in named):
            node.value = ast.Constant(0)
        return node
