"""Named values of Python, YAML and JSON: found, and replaced in their place."""

import ast
import json
import math

import pytest
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from helpers.standins import notebook
from ratchet.base.schema import parse_yaml
from ratchet.task.edits import (
    applicable_changes,
    changed_values,
    find_value,
    replace_value,
    value_literal,
)
from ratchet.task.sources import MOST_ALIASES, text_fault
from ratchet.task.task import DeclaredChange

YAML = """\
# how it trains
learning_rate: 1e-3  # of Adam: a number, though YAML 1.1 takes it for text
"batch size": 8
model: {hidden_size: 32, layers: [1, 2]}
optimizer:
  name: 'adam'
  betas:
  - 0.9
  text: |
    learning_rate: 5
größe: 3
"""
OPTIONS = """\
parser.add_argument("-l", "--lr", type=float, default=.1)
@click.option("--width", default=2)
def main(): ...
parser.add_argument("--off", action="store_true")
@dataclass
class Net:
    depth: int = 3
class Other:
    depth: int = 4
"""
DECLARED = """\
#define STEPS 20 /* in all */
static constexpr float kRate = 0.05f;
    const double momentum{-.5};
const int twice = 1; const int other = f(3);
const int twice = 2;
int changed = 3;
"""
JSON = '{ "a": {"rate": 1.5e-3, "list": [1, {"b": 2}]},\n\t"name" : "x" ,"rate":2}\n'


@pytest.mark.parametrize(
    ("name", "text", "constant", "value", "shown"),
    [
        ("c.yaml", YAML, "learning_rate", 0.001, "1e-3"),
        ("c.yml", YAML, "batch size", 8, "8"),
        ("c.yaml", YAML, "model.hidden_size", 32, "32"),
        ("c.yaml", YAML, "model.layers", [1, 2], "[1, 2]"),
        ("c.yaml", YAML, "optimizer.name", "adam", "'adam'"),
        ("c.yaml", YAML, "größe", 3, "3"),
        ("c.json", JSON, "a.rate", 1.5e-3, "1.5e-3"),
        ("c.json", JSON, "a.list", [1, {"b": 2}], '[1, {"b": 2}]'),
        ("c.json", JSON, "rate", 2, "2"),
        ("c.py", "é = 1; RATE = 2e-3\n", "RATE", 0.002, "2e-3"),
        ("c.py", OPTIONS, "--lr", 0.1, ".1"),
        ("c.py", OPTIONS, "--width", 2, "2"),
        ("c.py", OPTIONS, "Net.depth", 3, "3"),
        ("c.cpp", DECLARED, "kRate", 0.05, "0.05"),
        ("c.h", DECLARED, "STEPS", 20, "20"),
        ("c.cu", DECLARED, "momentum", -0.5, "-.5"),
        ("c.rs", "pub const RATE: f64 = 1e-3;\n", "RATE", 0.001, "1e-3"),
        ("c.java", "static final int N = 8; // of all\n", "N", 8, "8"),
        ("c.ipynb", notebook("rate = 0.5  # of Adam\nx = rate\n", "n = 3"), "rate", 0.5, "0.5"),
        ("c.ipynb", notebook("rate = 0.5\n", "n = 3"), "n", 3, "3"),
    ],
)
def test_found(name: str, text: str, constant: str, value: object, shown: str) -> None:
    place = find_value(name, text, constant)
    assert (place.value, text[place.start : place.end]) == (value, shown)
    new = replace_value(name, text, constant, 0.25)
    assert new == text[: place.start] + "0.25" + text[place.end :]


@pytest.mark.parametrize(
    ("name", "text", "constant"),
    [
        ("c.yaml", YAML, "optimizer"),  # a block, which has no place of its own
        ("c.yaml", YAML, "optimizer.betas"),
        ("c.yaml", YAML, "optimizer.text"),
        ("c.yaml", YAML, "rate"),
        ("c.yaml", "a: 1\na: 2\n", "a"),
        ("c.yaml", "a: 1\n---\na: 2\n", "a"),
        ("c.yaml", "a: \nb: 1\n", "a"),
        ("c.yaml", "a: [1\n", "a"),
        ("c.yaml", "- a: 1\n", "a"),
        ("c.json", JSON, "a"),
        ("c.json", '{"a": 1, "a": 2}', "a"),
        ("c.json", "{'a': 1}", "a"),
        ("c.json", "[1]", "a"),
        ("c.txt", "a: 1\n", "a"),
        ("c.py", "a = 1\na = 2\n", "a"),
        ("c.py", "a = f()\n", "a"),
        ("c.py", "a += 1\n", "a"),
        ("c.py", "def (", "a"),
        ("c.py", "b, a = 1, 2\n", "a"),
        ("c.py", OPTIONS, "--off"),
        ("c.py", OPTIONS, "Other.depth"),
        ("c.cpp", DECLARED, "twice"),
        ("c.cpp", DECLARED, "other"),
        ("c.cpp", DECLARED, "changed"),
        ("c.ipynb", notebook("a = 1\n", "a = 2\n"), "a"),
    ],
)
def test_what_has_no_single_place_is_not_found(name: str, text: str, constant: str) -> None:
    assert find_value(name, text, constant) is None
    assert replace_value(name, text, constant, 1) is None


def test_nothing_else_changes_with_a_value() -> None:
    shared = "base: &b 1\nother: *b\n"
    assert find_value("c.yaml", shared, "base") is not None
    assert replace_value("c.yaml", shared, "base", 2) is None
    merged = "base: &b {rate: 1}\nmine:\n  <<: *b\n  size: 2\n"
    assert replace_value("c.yaml", merged, "mine.size", 3) == merged.replace("size: 2", "size: 3")
    endless = "a: &a [1]\n" + "".join(f"k{n}: *a\n" for n in range(MOST_ALIASES + 1))
    assert find_value("c.yaml", endless, "a") is None
    assert "aliases" in (text_fault("c.yaml", endless) or "")
    assert "nested deeper" in (text_fault("c.yaml", "a: &a [*a]\nb: 1\n") or "")
    assert replace_value("c.yaml", "a: &a [*a]\nb: 1\n", "b", 2) is None


VALUES = (
    st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20)
    | st.none()
    | st.lists(st.integers(0, 9), max_size=3)
)


PYTHON = "é = 'ü'; RATE = 3  # why\n"
PLACES = [
    ("c.yaml", YAML, "model.hidden_size", lambda new: yaml.safe_load(new)["model"]["hidden_size"]),
    ("c.json", JSON, "a.rate", lambda new: json.loads(new)["a"]["rate"]),
    ("c.py", PYTHON, "RATE", lambda new: ast.literal_eval(ast.parse(new).body[1].value)),
]


@settings(max_examples=50)
@given(VALUES, st.sampled_from(PLACES))
def test_any_value_can_be_put_in_its_place(value: object, target: tuple) -> None:
    name, text, constant, read = target
    place = find_value(name, text, constant)
    assume(value != place.value)
    new = replace_value(name, text, constant, value)
    assert new.startswith(text[: place.start])
    assert new.endswith(text[place.end :])
    assert read(new) == value
    assert type(read(new)) is type(value)
    assert name == "c.py" or changed_values(name, text, new) == [constant]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_numbers_to_every_reader(value: float) -> None:
    text = value_literal("c.yaml", value)
    assert yaml.safe_load(text) == value
    assert isinstance(yaml.safe_load(text), float)
    assert parse_yaml(text.encode(), "x") == value
    assert math.isclose(json.loads(value_literal("c.json", value)), value, rel_tol=0.0)


@given(st.text(max_size=80), st.sampled_from(["c.yaml", "c.json", "c.py", "c.cpp", "c.ipynb"]))
@example("\x00", "c.py")
def test_nothing_that_a_candidate_writes_breaks_the_search(text: str, name: str) -> None:
    place = find_value(name, text, "a.b")
    assert place is None or text[place.start : place.end]
    assert text_fault(name, text) is None or isinstance(text_fault(name, text), str)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("c.py", "x = 1\nx = = 1\n", "line 2: "),
        ("c.yaml", "a: [1\n", "is not valid YAML"),
        ("c.yaml", "- 1\n", "holds no mapping"),
        ("c.yaml", "a: !!python/object/apply:os.system [ls]\n", "is not valid YAML"),
        ("c.json", "{a: 1}", "is not valid JSON"),
        ("c.json", "[" * 100_000, "is nested deeper than 80 levels"),
    ],
)
def test_what_cannot_be_read_is_said(name: str, text: str, words: str) -> None:
    assert words in (text_fault(name, text) or "")


def test_comments_and_layout_are_no_difference() -> None:
    other = YAML.replace("# how", "# why").replace("  - 0.9", "  -  0.9")
    assert changed_values("c.yaml", YAML, other) == []
    assert changed_values("c.yaml", "a: 1\n", "a: 1.0\n") == ["a"]
    assert changed_values("c.yaml", "a: {b: 1}\n", "a: {b: 2, c: 3}\n") == ["a.b", "a.c"]
    assert changed_values("c.yaml", "a: 1\n", "a: [\n") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2**19", 524288),
        ("1024**2 // 4", 262144),
        ("64 * 12 + 1", 769),
        ("3 / 4", 0.75),
        ("-7 % 4", 1),
        ("768**-0.5", 768**-0.5),
        ("(1 - 0.1) * 2", 1.8),
        ("1e-3 * 0.5", 0.0005),
        ("1 << 19", 524288),
        ("-2**3", -8),
        ("-(64 * 1024)", -65536),
    ],
)
def test_an_expression_of_numbers_is_a_value(text: str, value: float) -> None:
    source = f"é = 1; SIZE = {text}  # why\n"
    place = find_value("c.py", source, "SIZE")
    assert place.value == pytest.approx(value)
    assert replace_value("c.py", source, "SIZE", 8) == "é = 1; SIZE = 8  # why\n"


@pytest.mark.parametrize(
    "text",
    [
        *("2**10000", "9**99**99", "10**200", "1.5**129", "10**100 * 10**100", "1e200 * 1"),
        *("(-8)**0.5", "1 / 0", "0**-1", "5 % 0", "1e308 * 10", "3 + 4j"),
        *("'a' * 3", "[0] * 9", "True + 1", "2 << 9999", "WIDTH * 2", "int('3') + 1", "f() * 2"),
        "9" * 4000 + "**100",
    ],
)
def test_what_cannot_be_computed_at_once_is_no_value(text: str) -> None:
    assert find_value("c.py", f"SIZE = {text}\n", "SIZE") is None


@pytest.mark.parametrize(
    ("text", "value", "new"),
    [
        ("2**19", "2**18", "262144"),
        ("3", "1e-3", "0.001"),
        ("3", "wide", "'wide'"),
        ("'a'", "2**3", "'2**3'"),
    ],
)
def test_a_text_with_an_expression_is_a_number_where_one_stood(
    text: str, value: str, new: str
) -> None:
    assert replace_value("c.py", f"A = {text}\n", "A", value) == f"A = {new}\n"


def test_numbers_in_a_list_may_be_expressions() -> None:
    source = "SIZES = (2**3, 4, -2**2)\nA = 1 << 9999\n"
    assert find_value("c.py", source, "SIZES").value == (8, 4, -4)
    assert find_value("c.py", source, "A") is None
    change = DeclaredChange("A", "other", values=("2**3", "4"), why="{new}")
    made = list(applicable_changes([change], {"c.py": "A = 2**3\n"}))
    assert [(idea.label, idea.contents["c.py"]) for idea in made] == [("A=4", "A = 4\n")]
