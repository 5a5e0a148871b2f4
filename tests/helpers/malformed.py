"""Files as no honest candidate writes them, and everything of ours that reads them."""

import random
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace

from ratchet.base.io import to_json
from ratchet.base.text import DIFF_LIMIT, clean_text, head_text, one_line
from ratchet.integrity.edit_checks import EditContract, Inspection, inspect_proposal
from ratchet.proposers.declared import unified_diff
from ratchet.proposers.idea import carry_over, same_sources, sole_setting
from ratchet.records.proposals import Edit
from ratchet.steering.categories import classify_change
from ratchet.steering.code_diff import count_changes, net_code_lines
from ratchet.task.edits import applicable_changes, find_value, replace_value
from ratchet.task.sources import text_faults
from ratchet.task.task import DeclaredChange, Seeding

CONTRACT = EditContract(("prepare.py",), "val_bpb", ("peak_memory_mb",))

TOKENS = r"""
( ) [ ] { } : ; , . = == := -> ** // @ ~ - not lambda yield await async def class if elif else try
except finally match case type with as import from global nonlocal del return raise while for in is
and or None True 0 1e999 1_0 0x1F 1j ... \ ' " ''' f" f'{ b' rb" u' # \N{DASH} print exec eval
compile __import__ setattr os prepare SEED evaluate_bpb 'val_bpb:' '---' open os.environ sys.modules
time.sleep np.random.seed(1) b64decode
"""

BYTES = b"\0 \r \x0c \x0b \x1b[2K \x85 \xff \xfe\xff \xef\xbb\xbf \xc3 \xed\xa0\x80 \t \x1a".split(
    b" "
) + [s.encode() for s in ("\u202e", "\u2028", "\u0435", "\uff45", "\u00b5", "\u200b", "é")]


def _stairs(line: str, count: int) -> str:
    """Blocks within blocks."""
    return "".join(f"{' ' * level}{line}\n" for level in range(count)) + " " * count + "a"


DEEP: Mapping[str, Callable[[int], str]] = {
    "attributes": lambda n: "a" + ".b" * n + " = 1",
    "subscripts": lambda n: "a" + "[0]" * n + " = 1",
    "calls": lambda n: "a" + "()" * n,
    "opens": lambda n: "open(" * min(n, 190) + ")" * min(n, 190),
    "sum": lambda n: "x = 1" + " + a" * n,
    "powers": lambda n: "x = a" + " ** a" * n,
    "not": lambda n: "x = " + "not " * n + "a",
    "minus": lambda n: "x = " + "-" * n + "1",
    "brackets": lambda n: "x = " + "(" * n + "1" + ")" * n,
    "lists": lambda n: "WIDTH = " + "[" * n + "]" * n,
    "unclosed": lambda n: "x = " + "[{(" * n,
    "lambdas": lambda n: "x = " + "lambda: " * n + "1",
    "choices": lambda n: "x = " + "a if b else " * n + "c",
    "elif": lambda n: "if a: pass\n" + "elif a: pass\n" * n + "else: pass",
    "indents": lambda n: _stairs("if a:", min(n, 600)),
    "functions": lambda n: _stairs("def f():", min(n, 600)),
    "decorators": lambda n: "@a\n" * n + "def f(): pass",
    "targets": lambda n: "(" * n + "a" + ",)" * n + " = b",
    "names": lambda n: "\n".join(f"a{i} = {i}" for i in range(n)),
    "elements": lambda n: "x = [" + "1, " * n + "]",
    "digits": lambda n: "WIDTH = " + "9" * n,
    "hexadecimal": lambda n: "WIDTH = 0x" + "f" * n,
    "bytes": lambda n: "DATA = b'" + "\\x9f" * n + "'",
    "string": lambda n: "WIDTH = '" + "a" * n + "'",
    "joined": lambda n: "x = " + "'a' " * n,
    "formatted": lambda n: "x = f'" + "{a}" * n + "'",
    "comment": lambda n: "# " + "x" * n,
    "long name": lambda n: "a" * n + " = 1",
    "dots": lambda n: f"from {'.' * n} import a",
    "blank": lambda n: "\n" * n + "\\\n" * n,
    "tabs": lambda n: "\t" * n + "x = 1",
    "semicolons": lambda n: "a;" * n,
    "reversed": lambda n: "\n".join(f"a{n - i} = 0" for i in range(n)),
    "equal": lambda n: "a = 0\nb = 0\n" * n,
}

WHOLE = (
    b"# coding: raw_unicode_escape\n# \\u000aimport os\n",
    b"#!/usr/bin/python\n# -*- coding: utf-7 -*-\n",
    b"# coding: latin-1\nx = '\xe9'\n",
    b"# coding: nothing-known\n",
    b"\xef\xbb\xbf# coding: latin-1\n",
    b"# vim: set fileencoding=cp1252 :\n",
    "x = 1".encode("utf-16"),
    b"",
    b"\n",
    b"\\",
    b"x = {[1]: 2}\nWIDTH = {[]: 1}\n",
    b"WIDTH = {**a}\nWIDTH2 = {1, [2]}\n",
    b"WIDTH = 1e999\nRATE = -1e999\n",
    b"WIDTH = '\\ud800'\n",
    b"type X[T: int] = list[T]\ndef f[*T, **P](): pass\n",
    b"match x:\n case {'a': [1, *_], **rest} if (y := rest): pass\n",
    b'x = f\'{f"{1}":{2}}\'\ny = f"{x["a"]}"\n',
    b"exec(bytes.fromhex('7072696e74'))\n",
)

SETTINGS = (
    "a: &a [1, 2]\nb: [*a, *a]\n",
    "a: &a [*a]\n",
    "a: &a {b: *a}\n",
    "{}\n",
    "a: {<<: [*b]}\n",
    "b: &b {x: 1}\na: {<<: *b, <<: *b}\n",
    "c: {<<: 3}\n",
    "a: 2001-12-14\n",
    "a: 2001-99-99\n",
    "a: 2001-12-14t21:59:43.10-05:00\n",
    "a: !!int ''\n",
    "a: !!float ''\n",
    "a: !!bool maybe\n",
    "a: !!timestamp never\n",
    "a: !!binary '****'\n",
    "a: !!binary aGVsbG8=\n",
    "a: !!set {1, 2}\n",
    "a: !!omap [x: 1]\n",
    "a: !!python/object/apply:os.system [ls]\n",
    "? [a, b]\n: 1\n",
    "? {a: b}\n: 1\n",
    "a: 1e999\n",
    "a: .nan\nb: -.inf\nc: infinity\n",
    "a: 1:20:30:40\n",
    "a: 0x1F\nb: 0o17\nc: 017\nd: 1_000\n",
    "a: yes\nb: ~\nc:\n",
    '{"a": 1, "a": 2}\n',
    '{"a": NaN, "b": -Infinity, "c": 1E400}\n',
    '{"\\ud800": "\\udfff"}\n',
    "a: 'x\n",
    "a: |\n x\n--- \nb: 1\n",
    "%YAML 1.1\n---\na: 1\n...\n",
    "- - - 1\n",
    "a: \t1\n",
)

DEEP_SETTINGS: Mapping[str, Callable[[int], str]] = {
    "lists": lambda n: '{"a": ' + "[" * n + "]" * n + "}",
    "mappings": lambda n: '{"a": ' * n + "1" + "}" * n,
    "unclosed": lambda n: "{[" * n,
    "blocks": lambda n: _stairs("a:", min(n, 600)),
    "dashes": lambda n: "- " * n + "1",
    "digits": lambda n: '{"a": ' + "9" * n + "}",
    "keys": lambda n: "{" + ", ".join(f'"k{i}": {i}' for i in range(n)) + "}",
    "aliases": lambda n: "a: &a 1\nb: [" + "*a, " * n + "]\n",
    "bomb": lambda n: (
        "a0: &a0 [x, x]\n"
        + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, min(n, 40)))
    ),
    "text": lambda n: '{"a": "' + "x" * n + '"}',
    "long key": lambda n: '{"' + "x" * n + '": 1}',
    "comments": lambda n: "#\n" * n + "a: 1\n",
}

SIZES = (3, 60, 90, 200, 900, 3000, 20_000)


def mutants(base: bytes, count: int, seed: int, settings: bool = False) -> Iterator[bytes]:
    """So many mutations of a file, the same ones for a seed."""
    draw = random.Random(seed)
    whole = [text.encode() for text in SETTINGS] if settings else WHOLE
    deep = DEEP_SETTINGS if settings else DEEP
    for number in range(count):
        kind = number % 8
        if kind == 0:
            yield draw.choice([b"", base]) + draw.choice(whole)
        elif kind == 1:
            name, size = draw.choice(list(deep)), draw.choice(SIZES)
            yield draw.choice([b"", base + b"\n"]) + deep[name](size).encode() + b"\n"
        else:
            yield _mutated(base, draw, draw.randint(1, 6))


def _mutated(data: bytes, draw: random.Random, times: int) -> bytes:
    for _ in range(times):
        place = draw.randrange(len(data) + 1)
        end = min(len(data), place + draw.choice((0, 1, 3, 40, 400)))
        verb = draw.randrange(8)
        if verb == 0:
            data = data[:place] + draw.choice(BYTES) + data[end:]
        elif verb == 1:
            data = data[:place] + bytes([draw.randrange(256)]) + data[place + 1 :]
        elif verb == 2:
            word = draw.choice(TOKENS.split()).encode()
            data = data[:place] + b" " + word + b" " + data[place:]
        elif verb == 3:
            data = data[:place] + data[end:]
        elif verb == 4:
            data = data[:place] + data[place:end] * draw.choice((2, 2, 50)) + data[end:]
        elif verb == 5:
            lines = data.split(b"\n")
            draw.shuffle(lines)
            data = b"\n".join(lines)
        elif verb == 6:
            data = data.replace(b"\n", draw.choice((b"\r", b"\r\n", b"\x0c\n", b"\n\n", b"\n ")))
        else:
            data = data.replace(b"(", draw.choice((b"((", b"[", b"({", b"(*", b"(x:=")), 3)
    return data[:200_000]


def read_everywhere(
    name: str, old: str, new: str, space: tuple[DeclaredChange, ...], merge: bool = False
) -> Inspection:
    """Hand one edit to everything that reads candidates' files, as a session does."""
    before, after = {name: old}, {name: new}
    edit = sole_setting(before, after)
    text, added, removed = unified_diff(before, after)
    own = {change.name: change.category for change in space}
    fields = {
        "edit": edit,
        "category": classify_change("an edit", before, after, own),
        "diff": text.encode("utf-8", errors="replace").decode(),
        "lines": [added, removed, net_code_lines(before, after)],
        "changes": count_changes(before, after),
        "faults": list(text_faults(name, new).values()),
    }
    back = sole_setting(after, before)
    ideas = [one_line(idea.description) for idea in applicable_changes(space, after)]
    for change in (*space, SimpleNamespace(name="WIDTH"), SimpleNamespace(name="a")):
        place = find_value(name, new, change.name)
        if place is not None:
            replace_value(name, new, change.name, place.value)
            replace_value(name, new, change.name, 3)
    inspected = inspected_edit(name, old, new)
    shown = head_text(clean_text(text), DIFF_LIMIT)
    if merge:
        carry_over(before, after, {name: f"{old}\n# more\n"})
    written = to_json([fields, back, ideas, inspected, shown, same_sources(before, after)])
    assert written
    assert isinstance(edit, Edit | None)
    return inspected


def inspected_edit(name: str, old: str, new: str, constant: str | None = None) -> Inspection:
    """What reading an edit of a task's only mutable file says, without a session."""
    held = SimpleNamespace(incumbent=SimpleNamespace(files={name: old}))
    session = SimpleNamespace(
        task=SimpleNamespace(
            mutable=[name],
            fixed=CONTRACT.fixed,
            metric=SimpleNamespace(name=CONTRACT.metric),
            printed=CONTRACT.printed,
            seeding=Seeding(constant=constant),
        ),
        baseline_files={name: old},
        texts=dict,
        state=lambda number: held,
    )
    proposal = SimpleNamespace(files={name: new}, notes=(), round=1)
    return inspect_proposal(session, proposal)  # type: ignore[arg-type]
