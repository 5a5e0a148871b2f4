"""Differences of two versions of some files: what they touch, and how many lines they add.

:func:`net_code_lines` counts lines that a change must pay for, :func:`count_changes`
how many things it does at once (more than one, and none gets the credit).
:func:`code_differences` names what differs in Python: both texts are parsed, so that
comments, docstrings and layout never count; definitions and assignments are matched
by name, other statements in order, and what differs is followed down to the smallest
part that does.  :func:`changed_keys` does so for YAML and JSON by lines, since most
have one value each.
"""

import ast
import functools
import itertools
import re
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ratchet.base.structs import Frozen
from ratchet.task.sources import (
    MOST_CHARACTERS,
    MOST_STEPS,
    SETTINGS,
    BoundedMatcher,
    SourceError,
    parse_python,
)

MOST_LINES = 5000
"""Longer files are data; comparing them takes long and says little."""

MOST_WORDS = 80
"""Names of one place that are listed, and characters of each."""

MOST_IN_ORDER = 400
"""Statements of one block that are matched in order, which takes quadratic time;
those of a longer one are compared place by place."""

MOST_SITES = 200
"""Places that are listed; a rewrite of everything needs no more to be told."""

# A key begins where no word does: else each of its characters would be tried.
_KEY = re.compile(r"""["']?(?<![\w.-])([A-Za-z_][\w.-]*)["']?\s*:""")
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# Tokens that are there without any code.
_LAYOUT = frozenset(
    {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENCODING,
        tokenize.ENDMARKER,
    }
)


def net_code_lines(old: Mapping[str, str], new: Mapping[str, str]) -> int:
    """Code lines that ``new`` has more than ``old``; both map file names to texts."""
    after = sum(count_code_lines(name, text) for name, text in new.items())
    return after - sum(count_code_lines(name, text) for name, text in old.items())


def count_code_lines(name: str, text: str) -> int:
    """Code lines of one file; its name tells whether it is Python.

    Padding must earn nothing: only lines with a token other than a comment count.  A
    docstring is a token.  A file that is no valid Python counts by its filled lines.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    filled = {number for number, line in enumerate(lines, start=1) if line.strip()}
    if name.endswith((".yaml", ".yml")):
        return sum(not lines[number - 1].lstrip().startswith("#") for number in filled)
    if not name.endswith(".py"):
        return len(filled)
    used = _python(lines) if len(text) <= MOST_CHARACTERS else None
    return len(filled if used is None else filled & used)


def _python(lines: list[str]) -> set[int] | None:
    """Lines with code; ``None`` for a text that Python cannot read."""
    used: set[int] = set()
    try:
        for token in tokenize.generate_tokens(iter([f"{line}\n" for line in lines]).__next__):
            if token.type == tokenize.ERRORTOKEN:
                return None
            if token.type not in _LAYOUT:
                used.update(range(token.start[0], token.end[0] + 1))
    except (tokenize.TokenError, SyntaxError, ValueError):
        return None
    return used


def count_changes(old: Mapping[str, str], new: Mapping[str, str]) -> int | None:
    """Number of things that differ between two versions of some files, by name.

    In Python these are constants and definitions, in YAML and JSON lines, elsewhere
    blocks of lines.  ``None`` where a Python text cannot be read.
    """
    total = 0
    for name in sorted({*old, *new}):
        before, after = old.get(name, ""), new.get(name, "")
        if name.endswith(SETTINGS):
            total += sum(1 for _ in changed_lines(before, after))
            continue
        if not name.endswith(".py"):
            lines = BoundedMatcher(before.split("\n"), after.split("\n"))
            total += sum(tag != "equal" for tag, *_ in lines.get_opcodes())
            continue
        differences = code_differences(before, after)
        if differences is None:
            return None
        total += differences.count
    return total


def changed_keys(old: str, new: str) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Names on each line that differs, and the keys that it stands below, the nearest first."""
    for lines, place in itertools.islice(changed_lines(old, new), MOST_SITES):
        names = _few(dict.fromkeys(_KEY.findall(lines[place])))
        if names:
            yield names, _few(_above(lines, place))


def changed_lines(old: str, new: str) -> Iterator[tuple[list[str], int]]:
    """Each line that differs, as its text's lines and its place; of a pair the new one."""
    if max(len(old), len(new)) > MOST_CHARACTERS:
        return
    before, after = _lines(old), _lines(new)
    if max(len(before), len(after)) > MOST_LINES:
        return
    compared = BoundedMatcher(before, after, autojunk=False)
    for tag, i, j, k, m in compared.get_opcodes():
        if tag != "equal":
            yield from ((after, place) for place in range(k, m))
            yield from ((before, place) for place in range(i + m - k, j))


def _lines(text: str) -> list[str]:
    """Lines without comments and without blank ones; the comma of JSON is none either."""
    bare = (re.sub(r"(^|\s)#.*", "", line).rstrip().rstrip(",") for line in text.split("\n"))
    return [line for line in bare if line]


def _above(lines: list[str], place: int) -> Iterator[str]:
    """Keys of the lines above that are indented less and less."""
    depth = _depth(lines[place])
    for line in reversed(lines[max(0, place - MOST_LINES // 10) : place]):
        if depth == 0:
            return
        if _depth(line) < depth:
            depth = _depth(line)
            yield from _KEY.findall(line)[:1]


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


class Site(Frozen):
    """One place where two versions differ.

    ``words`` are the names that differ and what they are assigned to or passed
    as, ``calls`` those that they are passed to, ``around`` the function and the
    class, each the innermost first, and ``beside`` the statement's other names.
    """

    words: tuple[str, ...]
    around: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


class CodeDifferences(Frozen):
    """Names that a change touches, in the order of the file.

    ``constants`` are names assigned at the top level, ``definitions`` functions,
    methods and classes by their full name.
    """

    constants: tuple[str, ...] = ()
    definitions: tuple[str, ...] = ()
    sites: tuple[Site, ...] = ()

    @property
    def count(self) -> int:
        """Constants and definitions touched; more than one is no single change.

        A constructor goes with another method of its class: parameters and their use.
        """
        made = {name.rpartition(".")[0] for name in self.definitions if _is_init(name)}
        used = {name.rpartition(".")[0] for name in self.definitions if not _is_init(name)}
        return len(self.constants) + len(self.definitions) - len(made & used)


def _is_init(name: str) -> bool:
    return name.endswith(".__init__")


@functools.lru_cache(maxsize=128)
def code_differences(old: str, new: str) -> CodeDifferences | None:
    """Compare two versions; ``None`` where either is no Python that can be read."""
    try:
        before, after = _parsed(old), _parsed(new)
    except SourceError:
        return None
    differ = _Comparison()
    differ.bodies(before.body, after.body, (), "")
    return CodeDifferences(
        tuple(dict.fromkeys(differ.constants)),
        tuple(dict.fromkeys(differ.definitions)),
        tuple(differ.sites),
    )


class _Comparison:
    """Collects differences while walking down two trees side by side."""

    def __init__(self) -> None:
        self.constants: list[str] = []
        self.definitions: list[str] = []
        self.sites: list[Site] = []
        self._numbers: dict[object, int] = {}
        self._known: dict[ast.AST, int] = {}
        self._steps = MOST_STEPS

    def number(self, node: ast.AST) -> int:
        """Number of a tree: equal ones have one number, and each is walked once."""
        found = self._known.get(node)
        if found is None:
            fields = [getattr(node, name, None) for name in node._fields]
            key = (type(node), *map(self._part, fields))
            found = self._known[node] = self._numbers.setdefault(key, len(self._numbers))
        return found

    def _part(self, value: object) -> object:
        if isinstance(value, ast.AST):
            return self.number(value)
        if isinstance(value, list):
            return tuple(map(self._part, value))
        return type(value), repr(value)  # 1, 1.0 and True are three constants

    def differ(self, one: ast.AST | None, other: ast.AST | None) -> bool:
        """Whether two trees differ, or only one is there."""
        return one is None or other is None or self.number(one) != self.number(other)

    def _site(self, words: Iterable[str], *rest: Sequence[str]) -> None:
        """Note a place; its names are cut, as candidates write them."""
        if len(self.sites) < MOST_SITES:
            self.sites.append(Site(_few(words), *map(_few, rest)))

    def bodies(
        self,
        old: Sequence[ast.stmt],
        new: Sequence[ast.stmt],
        around: tuple[str, ...],
        qualifier: str,
        named: bool = True,
    ) -> None:
        """Statements of a module, class or function; ``named`` matches by name."""
        keys = _key if named else _definition_key
        mine = {key: node for node in old if (key := keys(node))}
        yours = {key: node for node in new if (key := keys(node))}
        for key in dict.fromkeys([*yours, *mine]):
            a, b = mine.get(key), yours.get(key)
            if not self.differ(a, b):
                continue
            self._entry(key, a, b, around, qualifier)
        self._lists(
            [node for node in old if not keys(node)],
            [node for node in new if not keys(node)],
            around,
        )

    def _entry(
        self,
        key: str,
        old: ast.stmt | None,
        new: ast.stmt | None,
        around: tuple[str, ...],
        qualifier: str,
    ) -> None:
        """A definition or a named assignment that differs or is in one version only."""
        either = new if new is not None else old
        if not isinstance(either, _DEFINITIONS):
            if not qualifier:
                self.constants.append(key)
            else:
                self.definitions.append(qualifier[:-1])
            self._site((key, *_names(old, new)), around)
            return
        name = qualifier + key
        inner = (key, *around)
        if old is None or new is None or type(old) is not type(new):
            self.definitions.append(name)
            self._site((key, *_names(old, new)), around)
            return
        assert isinstance(old, _DEFINITIONS)
        assert isinstance(new, _DEFINITIONS)
        seen = len(self.definitions)
        in_class = isinstance(new, ast.ClassDef)
        self.bodies(old.body, new.body, inner, name + ".", named=in_class)
        if len(self.definitions) == seen:
            self.definitions.append(name)
        if isinstance(old, ast.ClassDef) and isinstance(new, ast.ClassDef):
            self._lists(old.bases, new.bases, inner)
        elif not isinstance(old, ast.ClassDef) and not isinstance(new, ast.ClassDef):
            words = list(self._differing(old.args, new.args))
            if words:
                self._site(words, inner)

    def _lists(
        self, old: Sequence[ast.AST], new: Sequence[ast.AST], around: tuple[str, ...]
    ) -> None:
        """Statements in order: what is alike is matched, the rest compared in pairs."""
        for a, b in self._paired(old, new):
            inner_a, inner_b = _bodies(a), _bodies(b)
            if a is not None and b is not None and type(a) is type(b) and inner_b:
                heads = [self._differing(x, y) for x, y in zip(_heads(a), _heads(b), strict=False)]
                if words := tuple(word for head in heads for word in head):
                    self._site(words, around)
                for mine, yours in itertools.zip_longest(inner_a, inner_b, fillvalue=()):
                    self._lists(mine, yours, around)
                continue
            either = b if b is not None else a
            assert either is not None
            passed: list[str] = []
            words = (*self._differing(a, b, passed), *_targets(either))
            beside = tuple(_identifiers(either)) if isinstance(either, ast.stmt) else ()
            self._site(words, around, passed, beside)

    def _paired(
        self, old: Sequence[ast.AST], new: Sequence[ast.AST]
    ) -> Iterator[tuple[ast.AST | None, ast.AST | None]]:
        """Items that differ between two sequences, side by side where they can be."""
        if max(len(old), len(new)) > MOST_IN_ORDER:
            pairs = itertools.zip_longest(old, new)
            yield from ((a, b) for a, b in pairs if self.differ(a, b))
            return
        numbers = [self.number(node) for node in old], [self.number(node) for node in new]
        matcher = BoundedMatcher(*numbers, autojunk=False, steps=self._steps)
        for tag, i, j, k, m in matcher.get_opcodes():
            if tag != "equal":
                yield from itertools.zip_longest(old[i:j], new[k:m])
        self._steps = matcher.steps

    def _differing(
        self, old: ast.AST | None, new: ast.AST | None, calls: list[str] | None = None
    ) -> Iterator[str]:
        """Names of the smallest parts that differ, and what these are passed as.

        ``calls`` collects what they are passed to.
        """
        if old is None or new is None or type(old) is not type(new):
            yield from _names(old, new)
            return
        if not self.differ(old, new):
            return
        yielded = False
        for field, b in ast.iter_fields(new):
            a = getattr(old, field, None)
            if isinstance(a, ast.AST) and isinstance(b, ast.AST) and self.differ(a, b):
                yield from self._differing(a, b, calls)
                yielded = True
            elif isinstance(a, list) and isinstance(b, list):
                nodes = all(isinstance(item, ast.AST) for item in [*a, *b])
                for x, y in self._paired(a, b) if nodes else ():
                    yield from self._differing(x, y, calls)
                    yielded = True
        if not yielded:  # the node itself differs: a number, a name
            yield from _names(old, new)
        if isinstance(new, ast.keyword) and new.arg:
            yield new.arg
        elif isinstance(new, ast.Call) and calls is not None:
            calls.extend(list(_identifiers(new.func))[-1:])


def _few(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(word[:MOST_WORDS] for word in itertools.islice(words, MOST_WORDS))


def _bodies(node: ast.AST | None) -> list[list[ast.stmt]]:
    """The blocks of a compound statement."""
    if node is None or isinstance(node, _DEFINITIONS):
        return []
    blocks = [getattr(node, name, []) for name in ("body", "orelse", "finalbody")]
    blocks += [handler.body for handler in getattr(node, "handlers", [])]
    return [block for block in blocks if isinstance(block, list)] if blocks[0] else []


def _heads(node: ast.AST) -> list[ast.AST]:
    """Parts of a compound statement beside its blocks."""
    return [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)]


def _parsed(text: str) -> ast.Module:
    """The tree of a text without its docstrings."""
    tree = parse_python(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return tree


def _definition_key(node: ast.stmt) -> str:
    return node.name if isinstance(node, _DEFINITIONS) else ""


def _key(node: ast.stmt) -> str:
    """Name of a definition or of a plain assignment, else nothing."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
        return target.id if isinstance(target, ast.Name) else ""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    return _definition_key(node)


def _targets(node: ast.AST) -> tuple[str, ...]:
    """Names that a statement assigns, the last part first."""
    if isinstance(node, ast.Assign):
        return tuple(name for t in node.targets for name in reversed(list(_identifiers(t))))
    if isinstance(node, ast.AnnAssign | ast.AugAssign):
        return tuple(reversed(list(_identifiers(node.target))))
    return ()


def _names(old: ast.AST | None, new: ast.AST | None) -> list[str]:
    """Names that one of two nodes has more often; all names if that is none."""
    before = Counter(_identifiers(old)) if old is not None else Counter()
    after = Counter(_identifiers(new)) if new is not None else Counter()
    names = list({**after, **before})
    return [name for name in names if before[name] != after[name]] or names


def _identifiers(node: ast.AST) -> Iterator[str]:
    """Names, attributes, keywords and definitions below a node, in order."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.arg | ast.keyword):
        if node.arg:
            yield node.arg
    elif isinstance(node, _DEFINITIONS):
        yield node.name
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value[:MOST_WORDS]
    for child in ast.iter_child_nodes(node):
        yield from _identifiers(child)
    if isinstance(node, ast.Attribute):
        yield node.attr
