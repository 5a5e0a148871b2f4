"""Named values of mutable files: constants of code, keys of YAML and JSON, found and replaced.

``WIDTH`` is a top-level ``WIDTH = literal`` of a Python file, ``--width`` the default of an
option of its command line, ``Net.width`` that of a field of a dataclass, ``optimizer.lr`` the key
``lr`` below ``optimizer`` of a YAML or JSON file, and ``kWidth`` a number of a source of C
or a language like it that is declared to be constant, or of a line of a notebook.  A value
is replaced in its place, and everything else stays as it is, byte for byte.
"""

import ast
import difflib
import functools
import itertools
import json
import math
import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from ratchet.base.structs import Frozen, replace
from ratchet.base.text import shorten
from ratchet.records.proposals import DECLARED, Edit
from ratchet.task.sources import (
    JSON_SUFFIX,
    MOST_CHARACTERS,
    YAML_SUFFIXES,
    SourceError,
    compose_yaml,
    construct_yaml,
    is_settings,
    load_settings,
    parse_python,
    text_fault,
    walk,
)
from ratchet.task.task import DeclaredChange

# What `ast.literal_eval` raises on what is no literal, such as a list as a key.
_NO_LITERAL = (ValueError, TypeError, SyntaxError, RecursionError, MemoryError)


MOST_SHOWN = 100
"""Characters of a value that a description shows."""


class ValuePlace(Frozen):
    """Place of a value in a text, in characters, and the value."""

    start: int
    end: int
    value: Any


def find_value(name: str, text: str, constant: str) -> ValuePlace | None:
    """Place of a named value in a file.

    ``None`` if it is not there, is there more than once or is none that can be replaced
    in its place, and for files of any other kind.
    """
    if name.endswith(".py"):
        return find_python(text, constant)
    if name.endswith(YAML_SUFFIXES):
        return _find_yaml(text, constant)
    if name.endswith(DECLARING):
        return _declarations(text, name.endswith(NOTEBOOK)).get(constant)
    return _find_json(text, constant) if name.endswith(JSON_SUFFIX) else None


def replace_value(name: str, text: str, constant: str, value: Any) -> str | None:
    """The text with another value; ``None`` where :func:`find_value` finds none.

    Also ``None`` if anything else than this value would change with it, as the other
    places of an anchor do.
    """
    place = find_value(name, text, constant)
    if place is None:
        return None
    value = meant_value(place.value, value)
    try:
        literal = value_literal(name, value)
    except (TypeError, ValueError):  # a date, which JSON has none of
        return None
    new = text[: place.start] + literal + text[place.end :]
    if not is_settings(name):
        # A literal fits wherever another one stood: the file need not be parsed again.
        return new if _is_python(literal, value) else None
    after = find_value(name, new, constant)
    if after is None or not _same(after.value, value):
        return None
    try:
        one, other = load_settings(name, new), load_settings(name, text)
    except SourceError:
        return None
    alike = _but(one, constant) == _but(other, constant)
    return new if alike else None


def _is_python(literal: str, value: Any) -> bool:
    """Whether Python reads a literal as this value; not so for infinity, for one."""
    try:
        return bool(ast.literal_eval(literal) == value)
    except _NO_LITERAL:
        return False


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) or (isinstance(other, tuple) and one == list(other))


def value_literal(name: str, value: Any) -> str:
    """A value as it is written in a file of this kind."""
    if not is_settings(name):
        return repr(value)
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and "." not in text and math.isfinite(value):
        # YAML takes 1e-05 for text.
        mantissa, e, exponent = text.partition("e")
        text = f"{mantissa}.0{e}{exponent}"
    return text


def changed_values(name: str, old: str, new: str) -> list[str] | None:
    """Names of the values in which two versions of a settings file differ.

    Comments and layout are no difference.  ``None`` where one of them cannot be read.
    """
    try:
        before, after = (_leaves(load_settings(name, text)) for text in (old, new))
    except SourceError:
        return None
    return [key for key in {**before, **after} if before.get(key) != after.get(key)]


def _leaves(values: Any, prefix: str = "") -> dict[str, str]:
    """Values by their names, with dots; as text, so that 1 and 1.0 and true differ."""
    if not isinstance(values, dict) or not values:
        return {prefix.rstrip("."): repr(values)}
    found: dict[str, str] = {}
    for key, value in values.items():
        found |= _leaves(value, f"{prefix}{key}.")
    return found


def find_python(text: str, name: str) -> ValuePlace | None:
    """Place of the value of a top-level ``NAME = value``, and the value.

    That is a literal, or a sum, product, power, shift or the like of numbers, such as
    ``2**19``, also within a list or tuple.
    """
    values = _assignments(text).get(name, [])
    if len(values) != 1:
        return None
    (value,) = values
    try:
        found = constant_value(value)
    except _NO_LITERAL:
        return None
    assert value.end_lineno is not None
    assert value.end_col_offset is not None
    start = _offset(text, value.lineno, value.col_offset)
    return ValuePlace(start, _offset(text, value.end_lineno, value.end_col_offset), found)


LARGEST_EXPONENT = 128
"""Largest exponent of a constant that is written as a power."""

_OPERATIONS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}


def constant_value(node: ast.expr) -> Any:
    """Value of a literal, or of an expression of numbers alone.

    Raises ``ValueError`` for anything else, or for a power that is too large to compute.
    """
    if isinstance(node, ast.List | ast.Tuple):
        values = [constant_value(each) for each in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        inner = constant_value(node.operand)
        if not is_number(inner):
            raise ValueError("expected an expression of numbers")
        return -inner if isinstance(node.op, ast.USub) else inner
    if not isinstance(node, ast.BinOp):
        return ast.literal_eval(node)
    left, right = constant_value(node.left), constant_value(node.right)
    work = _OPERATIONS.get(type(node.op))
    if work is None or not (is_number(left) and is_number(right)):
        raise ValueError("expected an expression of numbers")
    if isinstance(node.op, ast.Pow) and not (
        abs(left) < 10.0**LARGEST_EXPONENT and abs(right) <= LARGEST_EXPONENT
    ):
        raise ValueError("the power is too large")
    if isinstance(node.op, ast.LShift) and not right <= 4 * LARGEST_EXPONENT:
        raise ValueError("the shift is too large")
    try:
        result = work(left, right)
    except ArithmeticError as error:
        raise ValueError(str(error)) from error
    if not is_number(result) or not abs(result) < 10.0**LARGEST_EXPONENT:
        raise ValueError("expected a number of a usual size")
    return result


def meant_value(old: Any, value: Any) -> Any:
    """A value that a constant is to be set to, in place of its ``old`` one.

    A text such as ``2**18``, which YAML has no number for, is the number where a number stood.
    """
    if not isinstance(value, str) or not is_number(old):
        return value
    try:
        found = constant_value(ast.parse(value.strip(), mode="eval").body)
    except _NO_LITERAL:
        return value
    return found if is_number(found) else value


def is_number(value: object) -> bool:
    """Whether a value is an ``int`` or a ``float``; truth values are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


@functools.lru_cache(maxsize=32)
def _assignments(text: str) -> Mapping[str, Sequence[ast.expr]]:
    """Values that a Python file gives to top-level names, options and fields, by their names.

    Empty where it does not parse.  All constants of a file are asked for one after the other,
    so it is parsed once.
    """
    try:
        tree = parse_python(text)
    except SourceError:
        return {}
    found: dict[str, list[ast.expr]] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(node.value)
        elif isinstance(node, ast.ClassDef) and _is_dataclass(node):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and field.value is not None:
                    name = f"{node.name}.{ast.unparse(field.target)}"
                    found.setdefault(name, []).append(field.value)
    if "add_argument" in text or "click" in text:
        for name, value in _option_defaults(tree):
            found.setdefault(name, []).append(value)
    return found


def _is_dataclass(node: ast.ClassDef) -> bool:
    called = (d.func if isinstance(d, ast.Call) else d for d in node.decorator_list)
    names = (d.attr if isinstance(d, ast.Attribute) else getattr(d, "id", "") for d in called)
    return "dataclass" in names


def _option_defaults(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Options of command lines, by argparse or click, with their defaults."""
    for node in walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        if not isinstance(called, ast.Attribute) or called.attr not in ("add_argument", "option"):
            continue
        assert isinstance(node, ast.Call)
        words = [each.value for each in node.args if isinstance(each, ast.Constant)]
        long = [word for word in words if isinstance(word, str) and word.startswith("--")]
        values = [each.value for each in node.keywords if each.arg == "default"]
        yield from zip(long[:1], values, strict=False)


@functools.lru_cache(maxsize=32)
def _lines(text: str) -> tuple[Sequence[str], Sequence[int]]:
    """Lines of a text with their ends, others being none to Python, and where each begins."""
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n|$)", text)
    return lines, [0, *itertools.accumulate(map(len, lines))]


def _offset(text: str, line: int, column: int) -> int:
    """Character offset of a position that ``ast`` gives in lines and bytes."""
    lines, starts = _lines(text)
    # A byte order mark is no character of the text that columns count.
    mark = 1 if line == 1 and text.startswith("\ufeff") else 0
    return starts[line - 1] + mark + len(lines[line - 1][mark:].encode()[:column].decode())


def _find_yaml(text: str, constant: str) -> ValuePlace | None:
    import yaml

    try:
        node: Any = compose_yaml(text)
    except SourceError:
        return None
    for part in constant.split("."):
        if not isinstance(node, yaml.MappingNode):
            return None
        found = [value for key, value in node.value if key.value == part]
        if len(found) != 1:
            return None
        (node,) = found
    flow = isinstance(node, yaml.SequenceNode) and node.flow_style
    plain = isinstance(node, yaml.ScalarNode) and node.style != "|" and node.style != ">"
    if not (flow or plain) or node.start_mark.index == node.end_mark.index:
        return None
    start, end = node.start_mark.index, node.end_mark.index
    # A byte order mark is no character of the text that marks count.
    shift = 1 if text.startswith("\ufeff") else 0
    try:
        return ValuePlace(start + shift, end + shift, _value(node))
    except SourceError:
        return None


def _value(node: Any) -> Any:
    """Value of a node; 1e-3, which YAML 1.1 takes for text, is a number."""
    import yaml

    found = construct_yaml(node)
    if isinstance(node, yaml.ScalarNode) and node.style is None and isinstance(found, str):
        try:
            return float(found)
        except ValueError:
            return found
    return found


# Characters of JSON that a YAML file may not hold.
_NO_YAML = re.compile(r"[\t\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def _find_json(text: str, constant: str) -> ValuePlace | None:
    """Place of a value in JSON, which is YAML but for some characters and words."""
    try:
        load_settings(JSON_SUFFIX, text)
        place = _find_yaml(_NO_YAML.sub(" ", text), constant)
        if place is None:
            return None
        return replace(place, value=load_settings(JSON_SUFFIX, text[place.start : place.end]))
    except SourceError:
        return None


def _but(values: Any, constant: str) -> Any:
    """Settings without one of them."""
    head, _, rest = constant.partition(".")
    if not isinstance(values, dict):
        return values
    inner = _but(values.get(head), rest) if rest else None
    return {**values, head: inner}


DECLARING = (
    *(".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".cu", ".cuh"),
    *(".rs", ".go", ".js", ".ts", ".java", ".kt", ".swift", ".cs", ".scala", ".zig", ".jl"),
    ".ipynb",
)
"""Ends of the names of sources in languages that declare constants, and of notebooks."""

_DECLARED = re.compile(
    r"^[ \t]*(?:#[ \t]*define[ \t]+(?P<macro>\w+)[ \t]+"
    r"|(?:[\w:<>]+[ \t]+){0,4}?(?:const|constexpr|final|val|let)[ \t]+(?:[\w:<>]+[ \t]+){0,3}?"
    r"(?P<name>[A-Za-z_]\w*)(?:[ \t]*:[ \t]*\w+)?[ \t]*(?:=[ \t]*|\{[ \t]*))"
    r"(?P<value>-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)[fFlLuU]{0,3}[ \t]*(?:[;},]|//|/\*|$)",
    re.MULTILINE,
)
"""A declaration of a number as constant: ``#define``, ``const``, ``constexpr``, ``final``."""

NOTEBOOK = ".ipynb"
_CELL = re.compile(
    r'^[ \t]*"(?P<name>[A-Za-z_]\w*)(?P<macro>)[ \t]*=[ \t]*'
    r"(?P<value>-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)"
    r'[ \t]*(?:#[^"\n]*?)?(?:\\n)?",?[ \t]*$',
    re.MULTILINE,
)
"""A line of a notebook that gives a name a number, as editors save it."""


@functools.lru_cache(maxsize=32)
def _declarations(text: str, notebook: bool = False) -> Mapping[str, ValuePlace]:
    """Numbers that a source, or the cells of a notebook, give to a name, each once."""
    if len(text) > MOST_CHARACTERS:
        return {}
    found: dict[str, list[ValuePlace]] = {}
    for match in (_CELL if notebook else _DECLARED).finditer(text):
        word = match["value"]
        value: float = int(word) if re.fullmatch(r"-?\d+", word) else float(word)
        place = ValuePlace(*match.span("value"), value)
        found.setdefault(match["macro"] or match["name"], []).append(place)
    return {name: places[0] for name, places in found.items() if len(places) == 1}


def constant_values(contents: Mapping[str, str], constant: str) -> list[Any]:
    """Values that these files give to a constant; one for each file that has it once."""
    places = (find_value(name, text, constant) for name, text in contents.items())
    return [place.value for place in places if place is not None]


def constant_names(name: str, text: str) -> list[str]:
    """Names of all values of a file that can be found and replaced."""
    if name.endswith(DECLARING):
        return list(_declarations(text, name.endswith(NOTEBOOK)))
    if not is_settings(name):
        return [each for each in _assignments(text) if find_value(name, text, each) is not None]
    try:
        return list(_leaves(load_settings(name, text)))
    except SourceError:
        return []


def misplaced_words(contents: Mapping[str, str], constant: str) -> str:
    """Why these files have no value of a constant that can be set, with the nearest names."""
    for name, text in contents.items():
        values = [] if is_settings(name) else _assignments(text).get(constant, [])
        if len(values) > 1:
            return f"found it {len(values)} times in {name}"
        for value in values:
            shown = shorten(ast.get_source_segment(text, value) or "", MOST_SHOWN)
            return (
                f"found `{constant} = {shown}` in {name}, which is no value by itself: write it as "
                "a literal or an expression of numbers"
            )
    known = {name for file, text in contents.items() for name in constant_names(file, text)}
    close = difflib.get_close_matches(constant, sorted(known), n=NEAREST)
    near = f"did you mean {' or '.join(close)}?" if close else f"known are {_listed(known)}"
    return f"found none of this name; {near}"


NEAREST = 3
"""Names that one which is not there may stand for."""

LISTED = 30
"""Names that are told where none is near."""


def _listed(names: Collection[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(sorted(names)[:LISTED]) or 'none'}{more}"


class Idea(Frozen):
    """An edit of the incumbent with its reasons, whoever had it; not yet recorded."""

    category: str
    description: str
    hypothesis: str
    contents: Mapping[str, str]
    edit: Edit | None = None
    proposer: str = DECLARED
    expected_effect: str = ""
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name of the edit within a session; empty if it is none of a single constant."""
        return "" if self.edit is None else self.edit.label


def apply_declared(
    space: Sequence[DeclaredChange], contents: Mapping[str, str], label: str
) -> Idea | None:
    """One certain change, applied to these files; ``None`` if it means nothing to them."""
    return next((d for d in applicable_changes(space, contents) if d.label == label), None)


def applicable_changes(
    space: Sequence[DeclaredChange], contents: Mapping[str, str]
) -> Iterator[Idea]:
    """Every declared change that makes a difference to these files."""
    for change in space:
        for name, text in contents.items():
            if change.is_constant:
                yield from _constants(change, name, text, contents)
            elif text.count(change.find) == 1:
                new = text.replace(change.find, change.replace)
                if new != text and text_fault(name, new, text) is None:
                    yield Idea(
                        change.category,
                        change.name.replace("-", " "),
                        change.why,
                        {**contents, name: new},
                        Edit("alternative", change.name),
                    )


def _constants(
    change: DeclaredChange, name: str, text: str, contents: Mapping[str, str]
) -> Iterator[Idea]:
    place = find_value(name, text, change.name)
    if place is None:
        return
    old = place.value
    for value in (meant_value(old, each) for each in change.values):
        if value == old and (type(value) is type(old) or is_settings(name)):
            continue
        new = replace_value(name, text, change.name, value)
        if new is None:
            continue
        shown = shorten(repr(old), MOST_SHOWN)
        why = change.why.replace("{old}", shown).replace("{new}", repr(value))
        yield Idea(
            change.category,
            f"{change.name} {shown} -> {value!r}",
            why,
            {**contents, name: new},
            Edit("constant", change.name, repr(value)),
        )
