"""Edits compared by what is run, named by the constant they set, merged with others."""

from __future__ import annotations

import pytest

from ratchet.proposers.idea import carry_over, same_code, sole_setting, syntax_error
from ratchet.records.records import Edit

OLD = '"""Train."""\nimport math\n\nRATE = 0.1\nWIDTH = 1\n\n\ndef step(x):\n    return x * RATE\n'


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        (OLD, OLD + "\n# the end\n", True),
        (OLD, OLD.replace("Train", "Learn"), True),
        (OLD, OLD.replace("return x * RATE", "return (x*RATE)  # scaled"), True),
        (OLD, OLD.replace("0.1", "0.10"), True),
        (OLD, OLD.replace("0.1", "0.2"), False),
        (OLD, OLD.replace("x * RATE", "RATE * x"), False),
        (OLD, "def broken(:\n", False),
        ("def broken(:\n", "def broken(: \n", False),
        ("a = 1\0", "a = 2\0", False),
    ],
)
def test_code_is_the_same_if_nothing_else_is_run(old: str, new: str, same: bool) -> None:
    assert same_code("train.py", old, new) is same


def test_other_files_are_compared_line_by_line() -> None:
    assert same_code("run.sh", "echo a\n", "echo a  \n\n")
    assert not same_code("run.sh", "echo a\n", "echo a # b\n")


def test_an_edit_that_sets_one_constant_has_the_label_of_a_declared_one() -> None:
    def found(new: str) -> Edit | None:
        return sole_setting({"train.py": OLD}, {"train.py": new})

    assert found(OLD.replace("0.1", "2e-1  # more")) == Edit("constant", "RATE", "0.2")
    assert found(OLD.replace("WIDTH = 1", "WIDTH = 'wide'")) == Edit("constant", "WIDTH", "'wide'")
    assert found(OLD) is None
    assert found(OLD.replace("0.1", "0.2").replace("WIDTH = 1", "WIDTH = 2")) is None
    assert found(OLD.replace("0.1", "0.2").replace("x * RATE", "RATE")) is None
    assert found(OLD.replace("0.1", "1 / 3")) is None
    assert found(OLD.replace("0.1", "0.2") + "print(RATE)\n") is None
    assert found(OLD + "DEPTH = 3\n") is None


def test_an_edit_of_two_files_sets_no_constant() -> None:
    new = {"a.py": "A = 2\n", "b.py": "B = 2\n"}
    assert sole_setting({"a.py": "A = 1\n", "b.py": "B = 1\n"}, new) is None
    assert sole_setting({"a.py": "A = 1\n", "b.py": "B = 2\n"}, new) == Edit("constant", "A", "2")


def test_a_syntax_error_names_its_line() -> None:
    assert syntax_error("train.py", OLD) is None
    assert str(syntax_error("train.py", OLD + "x = = 1\n")).startswith("line 10:")
    assert syntax_error("train.py", "x = 1\0") is not None
    assert syntax_error("train.sh", "x = = 1") is None


def test_edits_of_different_places_are_merged() -> None:
    near, kept = OLD.replace("RATE\n", "RATE + 1\n"), OLD.replace("0.1", "0.2")
    merged = carry_over({"train.py": OLD}, {"train.py": near}, {"train.py": kept})
    assert merged == {"train.py": near.replace("0.1", "0.2")}


@pytest.mark.parametrize(
    "kept",
    [OLD.replace("0.1", "0.2"), OLD.replace("0.1", "0.3"), "RATE = 0.1\n"],
    ids=["already done", "conflict", "rewritten"],
)
def test_edits_of_the_same_place_are_not(kept: str) -> None:
    near = OLD.replace("0.1", "0.2")
    assert carry_over({"train.py": OLD}, {"train.py": near}, {"train.py": kept}) is None


def test_a_merge_that_is_no_python_is_dropped() -> None:
    base = {"a.py": "x = (\n 1\n)\n\n\n\n\ny = 2\n"}
    near = {"a.py": "x = (\n 1\n)\n\n\n\n\ny = 2)\n"}
    kept = {"a.py": "x = 3\n\n\n\n\ny = 2\n"}
    assert carry_over(base, near, kept) is None
    assert carry_over(base, {"b.py": ""}, kept) is None


YAML = "# how\nrate: 0.1\nmodel:\n  size: 8\n"


def test_settings_are_compared_by_their_values() -> None:
    assert same_code("c.yaml", YAML, YAML.replace("# how", "# why").replace("0.1", "0.10"))
    assert not same_code("c.yaml", YAML, YAML.replace("8", "9"))
    assert syntax_error("c.yaml", YAML) is None
    assert "is not valid YAML" in str(syntax_error("c.yaml", "a: [1"))
    assert "is not valid JSON" in str(syntax_error("c.json", YAML))


def test_an_edit_of_one_key_is_that_constant() -> None:
    old = {"c.yaml": YAML, "train.py": OLD}
    edited = {**old, "c.yaml": YAML.replace("size: 8", "size: 16").replace("# how", "# why")}
    found = sole_setting(old, edited)
    assert found is not None
    assert found.label == "model.size=16"
    both = {**old, "c.yaml": YAML.replace("8", "16").replace("0.1", "0.2")}
    assert sole_setting(old, both) is None
    assert sole_setting(old, {**edited, "train.py": OLD.replace("0.1", "0.2")}) is None
    assert sole_setting(old, {**old, "c.yaml": YAML + "more: 1\n"}) is None
