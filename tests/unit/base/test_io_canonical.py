"""Canonical JSON: one text per value, whatever the order of its parts."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.base.errors import DataError
from ratchet.base.io import canonical_json, digest, digest_bytes, short_digest, source_digest

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_round_trip(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_order_does_not_matter(value: dict[str, int]) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))


@given(VALUES, VALUES)
def test_different_values_have_different_digests(one: object, other: object) -> None:
    if canonical_json(one) != canonical_json(other):
        assert digest(one) != digest(other)


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": -math.inf}, {1, 2}, b"bytes"])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(DataError, match="canonical JSON"):
        canonical_json(value)


def test_known_digest() -> None:
    # printf '{"a":1,"b":[true,null]}' | sha256sum
    assert digest({"b": [True, None], "a": 1}) == digest_bytes(b'{"a":1,"b":[true,null]}')
    assert digest_bytes(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert short_digest(digest_bytes(b"")) == "e3b0c44298fc"


def test_source_digest_depends_on_names_and_contents() -> None:
    base = source_digest({"train.py": "a", "model.py": "b"})
    assert base == source_digest({"model.py": "b", "train.py": "a"})
    assert base != source_digest({"train.py": "b", "model.py": "a"})
