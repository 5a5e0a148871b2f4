"""Edits compared by what is run, named by the constant they set, merged with others."""

import pytest

from ratchet.proposers.idea import carry_over, same_code, sole_setting

OLD = '"""Train."""\nimport math\n\nRATE = 0.1\nWIDTH = 1\n\n\ndef step(x):\n    return x * RATE\n'
FASTER = OLD.replace("0.1", "0.2")
YAML = "# how\nrate: 0.1\nmodel:\n  size: 8\n"


@pytest.mark.parametrize(
    ("name", "old", "new", "same"),
    [
        ("train.py", OLD, OLD + "\n# the end\n", True),
        ("train.py", OLD, OLD.replace("Train", "Learn"), True),
        ("train.py", OLD, OLD.replace("return x * RATE", "return (x*RATE)  # scaled"), True),
        ("train.py", OLD, OLD.replace("0.1", "0.10"), True),
        ("train.py", OLD, FASTER, False),
        ("train.py", OLD, OLD.replace("x * RATE", "RATE * x"), False),
        ("train.py", OLD, "def broken(:\n", False),
        ("train.py", "def broken(:\n", "def broken(: \n", False),
        ("train.py", "a = 1\0", "a = 2\0", False),
        # Other files line by line, settings by their values.
        ("run.sh", "echo a\n", "echo a  \n\n", True),
        ("run.sh", "echo a\n", "echo a # b\n", False),
        ("c.yaml", YAML, YAML.replace("# how", "# why").replace("0.1", "0.10"), True),
        ("c.yaml", YAML, YAML.replace("8", "9"), False),
    ],
)
def test_code_is_the_same_if_nothing_else_is_run(name: str, old: str, new: str, same: bool) -> None:
    assert same_code(name, old, new) is same


BOTH = {"c.yaml": YAML, "train.py": OLD}
SIZE = YAML.replace("size: 8", "size: 16").replace("# how", "# why")


@pytest.mark.parametrize(
    ("changed", "label"),
    [
        ({"train.py": OLD.replace("0.1", "2e-1  # more")}, "RATE=0.2"),
        ({"train.py": OLD.replace("WIDTH = 1", "WIDTH = 'wide'")}, "WIDTH='wide'"),
        ({}, None),
        ({"train.py": FASTER.replace("WIDTH = 1", "WIDTH = 2")}, None),
        ({"train.py": FASTER.replace("x * RATE", "RATE")}, None),
        ({"train.py": OLD.replace("0.1", "1 / 3")}, None),
        ({"train.py": FASTER + "print(RATE)\n"}, None),
        ({"train.py": OLD + "DEPTH = 3\n"}, None),
        ({"c.yaml": SIZE}, "model.size=16"),
        ({"c.yaml": YAML.replace("8", "16").replace("0.1", "0.2")}, None),
        ({"c.yaml": YAML + "more: 1\n"}, None),
        ({"c.yaml": SIZE, "train.py": FASTER}, None),
    ],
)
def test_an_edit_that_sets_one_constant_has_the_label_of_a_declared_one(
    changed: dict[str, str], label: str | None
) -> None:
    found = sole_setting(BOTH, {**BOTH, **changed})
    assert (found and found.label) == label
    assert found is None or found.kind == "constant"


NEAR = OLD.replace("RATE\n", "RATE + 1\n")
LIST = "x = (\n 1\n)\n\n\n\n\ny = 2\n"


@pytest.mark.parametrize(
    ("old", "edited", "incumbent", "merged"),
    [
        (OLD, NEAR, FASTER, NEAR.replace("0.1", "0.2")),
        # Edits of the same place: already done, another one, rewritten.
        (OLD, FASTER, FASTER, None),
        (OLD, FASTER, OLD.replace("0.1", "0.3"), None),
        (OLD, FASTER, "RATE = 0.1\n", None),
        # A merge that is no Python.
        (LIST, LIST.replace("y = 2", "y = 2)"), "x = 3\n\n\n\n\ny = 2\n", None),
    ],
)
def test_edits_of_different_places_are_merged(
    old: str, edited: str, incumbent: str, merged: str | None
) -> None:
    found = carry_over({"a.py": old}, {"a.py": edited}, {"a.py": incumbent})
    assert found == (None if merged is None else {"a.py": merged})
    assert carry_over({"a.py": old}, {"b.py": ""}, {"a.py": incumbent}) is None
