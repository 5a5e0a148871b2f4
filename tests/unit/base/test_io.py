"""Canonical JSON, one text per value; small files, whole or not at all."""

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.commands import Patch
from ratchet.base import io
from ratchet.base.errors import DataError, InputMissingError
from ratchet.base.io import (
    canonical_json,
    digest,
    digest_bytes,
    digest_file,
    fingerprint,
    read_json,
    read_record,
    source_digest,
    write_bytes,
    write_json,
)
from ratchet.records.proposals import Edit

FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | FINITE,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=50)
@given(VALUES, VALUES)
def test_different_values_have_different_texts_and_digests(one: object, two: object) -> None:
    assert json.loads(canonical_json(one)) == one
    assert (canonical_json(one) == canonical_json(two)) == (digest(one) == digest(two))


@given(st.dictionaries(st.text(), st.text(), min_size=2))
def test_order_does_not_matter(value: dict[str, str]) -> None:
    other = dict(reversed(value.items()))
    assert digest(value) == digest(other) == source_digest(value) == source_digest(other)


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": -math.inf}, {1, 2}, b"bytes"])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(DataError, match="canonical JSON"):
        canonical_json(value)


def test_known_digest() -> None:
    # printf '{"a":1,"b":[true,null]}' | sha256sum
    assert digest({"b": [True, None], "a": 1}) == digest_bytes(b'{"a":1,"b":[true,null]}')
    assert digest_bytes(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_write_replaces_and_leaves_no_traces(tmp_path: Path, monkeypatch: Patch) -> None:
    path = tmp_path / "deep" / "file.json"
    write_json(path, {"b": 1, "a": [None, "é"]})
    write_json(path, {"b": 2, "a": [None, "é"]})
    text = '{\n "a": [\n  null,\n  "é"\n ],\n "b": 2\n}\n'
    assert path.read_text() == text
    assert path.stat().st_mode & 0o777 == 0o644

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, b"new")
    assert path.read_text() == text
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]


def test_reading_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match=r"none\.json: cannot be read \(No such file"):
        read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text('{"a": ')
    with pytest.raises(DataError, match=r"bad\.json: is not valid JSON .*delete it"):
        read_json(tmp_path / "bad.json")
    (tmp_path / "edit.json").write_text('{"kind": "constant", "name": 3}')
    with pytest.raises(DataError, match=r"edit\.json\.name: expected `str`"):
        read_record(Edit, tmp_path / "edit.json")


def test_files_are_digested_and_too_large_ones_refused(tmp_path: Path, monkeypatch: Patch) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"abc")
    entry = fingerprint(path, "name")
    assert (entry.path, entry.bytes) == ("name", 3)
    assert entry.sha256 == digest_file(path) == digest_bytes(b"abc")
    monkeypatch.setattr(io, "MAX_BYTES", 3)
    assert io.read_file(path) == b"abc"
    path.write_bytes(b"abcd")
    with pytest.raises(DataError, match="at most 3 bytes, found 4"):
        io.read_file(path)
