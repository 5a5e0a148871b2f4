"""Which keys of YAML and JSON differ, and what such changes are about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.steering.categories import classify_change
from ratchet.steering.code_diff import changed_keys, count_changes

YAML = """\
# settings
learning_rate: 0.01  # step
batch_size: 16
dropout_rate: 0.5
model:
  hidden_size: 32
  num_layers: 1
  embedding:
    dim: 8
"""


@pytest.mark.parametrize(
    ("old", "new", "category"),
    [
        ("0.01", "0.02", "hyperparams"),
        ("batch_size: 16", "batch_size: 64", "hyperparams"),
        ("0.5", "0.1", "regularization"),
        ("hidden_size: 32", "hidden_size: 64", "architecture"),
        ("num_layers: 1", "num_layers: 2", "architecture"),
        ("dim: 8", "dim: 16", "embedding"),
    ],
)
def test_a_changed_key_tells_what_it_is_about(old: str, new: str, category: str) -> None:
    after = YAML.replace(old, new)
    assert classify_change("try it", {"c.yaml": YAML}, {"c.yaml": after}) == category
    assert count_changes({"c.yaml": YAML}, {"c.yaml": after}) == 1


def test_names_with_the_keys_above_them() -> None:
    after = YAML.replace("dim: 8", "dim: 16")
    assert list(changed_keys(YAML, after)) == [(("dim",), ("embedding", "model"))]
    json = '{\n "model": {\n  "size": 1,\n  "rate": 2\n }\n}'
    assert list(changed_keys(json, json.replace("1", "3"))) == [(("size",), ("model",))]


def test_every_changed_value_counts_and_no_comment() -> None:
    assert count_changes({"c.yaml": YAML}, {"c.yaml": YAML.replace("# step", "# stride")}) == 0
    after = YAML.replace("0.01", "0.02").replace("16", "64")
    assert count_changes({"c.yaml": YAML}, {"c.yaml": after}) == 2
    assert count_changes({"c.yaml": YAML}, {"c.yaml": YAML + "more: 1\n"}) == 1
    assert count_changes({"c.yaml": YAML}, {"c.yaml": YAML.replace("batch_size: 16\n", "")}) == 1
    assert list(changed_keys("a: 1\n", "a: 2\n" * 6000)) == []


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_can_be_compared(old: str, new: str) -> None:
    for names, above in changed_keys(old, new):
        assert names
        assert isinstance(above, tuple)
    assert isinstance(classify_change("x", {"c.json": old}, {"c.json": new}), str)
