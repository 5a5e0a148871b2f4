"""Text of mutable files: checked, parsed and compared within limits, whoever wrote it.

A candidate's files are anybody's text.  Everything that reads them comes through here:
:func:`text_faults` names what keeps a file from being read as it is run, and
:func:`parse_python`, :func:`load_settings` and :class:`BoundedMatcher` raise nothing but
:class:`SourceError` and take a bounded time.  Limits stand before each parser.  Python's
own stops by an exception at any nesting, and takes time in proportion to the text;
trees that are deeper than :data:`MOST_LEVELS` go no further, so that code that walks
them by recursion is safe.
"""

import ast
import contextlib
import difflib
import functools
import io
import itertools
import json
import re
import signal
import threading
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

YAML_SUFFIXES = (".yaml", ".yml")
JSON_SUFFIX = ".json"
SETTINGS = (*YAML_SUFFIXES, JSON_SUFFIX)
"""Endings of files that hold settings."""

MOST_BYTES = 1 << 20
"""Size of a mutable file of any kind; larger ones are data."""

MOST_CHARACTERS = 200_000
"""Size of a script; one that is longer was generated.  The largest of PyTorch's examples
has a fifth of it."""

MOST_YAML = 30_000
"""Size of a YAML file, whose parser reads some 100 kB in a second."""

MOST_TOKENS = 30_000
"""Words and signs of a script: seven times the largest task's."""

MOST_LEVELS = 80
"""Depth of a tree.  Of 4,200 files of Python and its packages the deepest has 62."""

MOST_BITS = 4096
"""Size of a whole number; from some 14,000 on, Python refuses to print it."""

MOST_ALIASES = 16
"""Repetitions by name (``*base``) in one YAML file: nested ones multiply."""

MOST_STEPS = 2_000_000
"""Pairs of equal lines that one comparison looks at, which takes half a second."""

# Control characters, marks that reorder what is shown, ends of lines that only some readers
# know, letters that language models read and people do not see.  A byte order mark is allowed
# where a text begins.
_HIDING = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u2069\ufff9-\ufffb"
    "\U000e0000-\U000e007f]|\r(?!\n)|(?<!^)\ufeff"
)
_NOT_UTF8 = re.compile("[\ud800-\udfff]")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_NAMES = {"\0": "NULL", "\x0c": "FORM FEED", "\r": "CARRIAGE RETURN", "\x1b": "ESCAPE"}


class SourceError(ValueError):
    """Why a text cannot be read; the words go on from the file's name."""


class TooSlowError(Exception):
    """Reading a candidate's files takes longer than it may."""


def is_settings(name: str) -> bool:
    """Whether a file holds settings rather than code."""
    return name.endswith(SETTINGS)


HIDDEN = ("coding", "character")
"""Kinds of faults by which a reader and the interpreter see different texts."""


def text_faults(name: str, text: str) -> dict[tuple[str, str], str]:
    """Faults of a file's text by kind and detail, each in words that go on from its name.

    Bytes that are no UTF-8 stand in ``text`` as single surrogates.
    """
    if len(text) > MOST_BYTES:
        return {("size", ""): f"is larger than {MOST_BYTES:,} bytes"}
    found: dict[tuple[str, str], str] = {}
    wrong = _NOT_UTF8.search(text)
    if wrong is not None:
        byte = ord(wrong[0]) & 0xFF
        place = _line(text, wrong.start())
        found["utf-8", ""] = f"is not UTF-8 text on line {place} (byte 0x{byte:02x}); save it so"
    coding = _coding(text) if name.endswith(".py") else ""
    if coding:
        found["coding", coding] = (
            f"names the encoding {coding} in its first lines, so that the interpreter runs another "
            "text than a reader sees; save it as UTF-8 and take that out"
        )
    for match in _HIDING.finditer(text):
        code = f"U+{ord(match[0]):04X}"
        if ("character", code) not in found:
            title = _NAMES.get(match[0]) or unicodedata.name(match[0], "a control character")
            found["character", code] = (
                f"has {code} ({title}) on line {_line(text, match.start())}, which shows readers "
                "other text than the interpreter runs; take it out"
            )
    unreadable = _unreadable(name, text)
    if unreadable:
        found["unreadable", ""] = unreadable
    return found


def text_fault(name: str, text: str, before: str = "") -> str | None:
    """Why a file cannot be read as it is run; ``None`` if it can.

    Faults of the kinds that the version ``before`` has are none.  YAML and JSON must
    hold a mapping.  The words go on from the file's name.
    """
    found = new_faults(name, text, before)
    return next(iter(found.values()), None)


def new_faults(name: str, text: str, before: str) -> dict[tuple[str, str], str]:
    """Faults of a file's text that the version ``before`` does not have; none if it is equal."""
    if text == before:
        return {}
    found = text_faults(name, text)
    known = text_faults(name, before) if found and before else {}
    return {kind: words for kind, words in found.items() if kind not in known}


def _line(text: str, place: int) -> int:
    """Number of a line as Python counts them: a carriage return ends one too."""
    head = text[:place]
    return head.count("\n") + head.count("\r") - head.count("\r\n") + 1


def _coding(text: str) -> str:
    """Encoding that Python takes a file for, if it is not UTF-8; by its bytes, as Python does."""
    head = re.match(r"[^\n]*\n?[^\n]*", text)
    if head is None or "coding" not in head[0]:
        return ""
    from tokenize import detect_encoding  # slow to import; few files name an encoding

    data = head[0].encode("utf-8", errors="surrogatepass")
    try:
        found, _ = detect_encoding(io.BytesIO(data).readline)
    except SyntaxError as error:  # one that is not known, or not that of a byte order mark
        return " ".join(str(error.msg).split())[:80]
    return "" if found in ("utf-8", "utf-8-sig") or _is_utf8(found) else found


def _is_utf8(coding: str) -> bool:
    import codecs

    return codecs.lookup(coding).name in ("utf-8", "utf-8-sig")


@functools.lru_cache(maxsize=128)
def _unreadable(name: str, text: str) -> str | None:
    """Why a file does not parse; declared changes of one incumbent are read in every round."""
    try:
        if name.endswith(".py"):
            parse_python(text)
        elif is_settings(name) and not isinstance(load_settings(name, text), dict):
            return "holds no mapping of names to values"
    except SourceError as error:
        return f"{error}"
    return None


def parse_python(text: str) -> ast.Module:
    """Tree of a Python text; raises :class:`SourceError`."""
    text = text.removeprefix("\ufeff")
    if len(text) > MOST_CHARACTERS:
        raise SourceError(f"is larger than {MOST_CHARACTERS:,} characters")
    if len(text) > MOST_TOKENS and sum(1 for _ in _TOKEN.finditer(text)) > MOST_TOKENS:
        raise SourceError(f"has more than {MOST_TOKENS:,} words and signs")
    try:
        with warnings.catch_warnings():  # about escapes in someone else's strings
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except SyntaxError as error:
        raise SourceError(f"is not valid Python (line {error.lineno}: {error.msg:.200})") from None
    except (RecursionError, MemoryError):
        raise _too_deep() from None
    except ValueError as error:  # null bytes, single surrogates
        raise SourceError(f"is not valid Python ({type(error).__name__})") from None
    for node in walk(tree):
        if isinstance(node, ast.Constant):
            _check_number(node.value)
    return tree


def walk(tree: ast.AST) -> list[ast.AST]:
    """All nodes of a tree, level by level; raises :class:`SourceError` for a deep one.

    Thrice as fast as ``ast.walk``.
    """
    found: list[ast.AST] = [tree]
    start = 0
    for _ in range(MOST_LEVELS):
        level = found[start:]
        start = len(found)
        for node in level:
            for field in node._fields:
                value = getattr(node, field, None)
                if isinstance(value, ast.AST):
                    found.append(value)
                elif isinstance(value, list):
                    found += [item for item in value if isinstance(item, ast.AST)]
        if start == len(found):
            return found
    raise _too_deep()


def _too_deep() -> SourceError:
    return SourceError(f"is nested deeper than {MOST_LEVELS} levels")


def _check_number(value: object) -> None:
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise SourceError(f"holds a whole number of more than {MOST_BITS} bits")


def load_settings(name: str, text: str) -> Any:
    """Values of a YAML or JSON text; raises :class:`SourceError`."""
    kind = "JSON" if name.endswith(JSON_SUFFIX) else "YAML"
    if kind == "JSON":
        if len(text) > MOST_CHARACTERS:
            raise SourceError(f"is larger than {MOST_CHARACTERS:,} characters")
        try:
            found = json.loads(text, object_pairs_hook=_named_once)
        except RecursionError:
            raise _too_deep() from None
        except ValueError as error:
            raise _invalid(kind, error) from None
    else:
        import yaml  # slow to import; few tasks have such files

        found = _read_yaml(lambda: yaml.load(text, Loader=_loader()), text)
    _check_values(found)
    return found


def compose_yaml(text: str) -> Any:
    """Nodes of a YAML text, with their places; raises :class:`SourceError`."""
    import yaml

    return _read_yaml(lambda: yaml.compose(text, Loader=_loader()), text)


def construct_yaml(node: Any) -> Any:
    """Value of one node; raises :class:`SourceError`."""
    import yaml

    return _read_yaml(lambda: yaml.SafeLoader("").construct_object(node, deep=True), "")


def _read_yaml(read: Any, text: str) -> Any:
    if len(text) > MOST_YAML:
        raise SourceError(f"is larger than {MOST_YAML:,} characters")
    # Its scanner takes time by the square of these.
    depths = itertools.accumulate((1 if c in "[{" else -1) for c in text if c in "[]{}")
    if max(depths, default=0) > MOST_LEVELS:
        raise _too_deep()
    try:
        return read()
    except (RecursionError, MemoryError):
        raise _too_deep() from None
    except TooSlowError:
        raise
    except Exception as error:  # its constructors raise all kinds on wrong values
        raise _invalid("YAML", error) from None


def _invalid(kind: str, error: Exception) -> SourceError:
    words = " ".join(str(error).split()) or type(error).__name__
    return SourceError(f"is not valid {kind} ({words:.200})")


def _named_once(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    """A mapping; one that names a key twice shows a reader another value than is used."""
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r:.80} stands twice in one mapping")
        found[key] = value
    return found


def _check_values(values: Any) -> None:
    """Refuse what no record can hold, and values within themselves."""
    level = [values]
    for _ in range(MOST_LEVELS):
        inner: list[Any] = []
        for value in level:
            _check_number(value)
            if isinstance(value, str) and _NOT_UTF8.search(value):
                raise SourceError("holds half of a character (a single surrogate)")
            if isinstance(value, Mapping):
                inner += [*value.keys(), *value.values()]
            elif isinstance(value, list | tuple | set):
                inner += value
        if not inner:
            return
        if len(inner) > MOST_CHARACTERS:
            break
        level = inner
    raise _too_deep()


def _loader() -> Any:
    """A safe loader with few aliases, which can make a short text endless, and no key twice."""
    import yaml

    class Loader(yaml.SafeLoader):
        aliases = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                self.aliases += 1
                if self.aliases > MOST_ALIASES:
                    raise yaml.YAMLError(f"expected at most {MOST_ALIASES} aliases, found more")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [key for key, _ in node.value if not key.tag.endswith(":merge")]
            _named_once([(self.construct_object(key, deep=True), None) for key in keys])
            found: dict[Any, Any] = super().construct_mapping(node, deep)
            return found

    return Loader


T = TypeVar("T")


class BoundedMatcher(difflib.SequenceMatcher[T]):
    """Compares sequences like its base, until its ``steps`` are used up.

    What is left then is taken to be replaced, but for a common beginning or end.
    """

    def __init__(
        self, old: Sequence[T], new: Sequence[T], autojunk: bool = True, steps: int = MOST_STEPS
    ) -> None:
        super().__init__(None, old, new, autojunk)
        places: Mapping[T, Sequence[int]] = self.b2j  # type: ignore[attr-defined]
        costs = (1 + len(places.get(item, ())) for item in old)
        self._cost = list(itertools.accumulate(costs, initial=0))
        self.steps = steps

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> difflib.Match:
        """Longest block that both have between these places."""
        a, b = self.a, self.b  # type: ignore[attr-defined]
        ahi, bhi = len(a) if ahi is None else ahi, len(b) if bhi is None else bhi
        cost = self._cost[ahi] - self._cost[alo]
        if cost <= self.steps:
            self.steps -= cost
            return super().find_longest_match(alo, ahi, blo, bhi)
        most = min(ahi - alo, bhi - blo)
        head = next((n for n in range(most) if a[alo + n] != b[blo + n]), most)
        if head:
            return difflib.Match(alo, blo, head)
        tail = next((n for n in range(most) if a[ahi - n - 1] != b[bhi - n - 1]), most)
        return difflib.Match(ahi - tail, bhi - tail, tail)


@contextlib.contextmanager
def reading_time(seconds: float) -> Iterator[None]:
    """Raise :class:`TooSlowError` where the block uses more processor time.

    Only a program's main thread can be told so; limits of size hold in others too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> NoReturn:
        raise TooSlowError(f"reading it takes more than {seconds:g} s")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)
