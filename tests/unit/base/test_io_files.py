"""Small files: whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ratchet.base import io
from ratchet.base.errors import DataError, InputMissingError
from ratchet.base.io import (
    digest_file,
    fingerprint,
    read_file,
    read_json,
    read_record,
    write_bytes,
    write_json,
)
from ratchet.records.records import Edit


def test_write_replaces_and_leaves_no_traces(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    write_json(path, {"b": 1, "a": [None, "é"]})
    write_json(path, {"b": 2, "a": [None, "é"]})
    assert path.read_text() == '{\n "a": [\n  null,\n  "é"\n ],\n "b": 2\n}\n'
    assert os.listdir(path.parent) == ["file.json"]  # noqa: PTH208
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_reading_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match=r"none\.json: cannot be read \(No such file"):
        read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text('{"a": ')
    with pytest.raises(DataError, match=r"bad\.json: is not valid JSON .*delete it"):
        read_json(tmp_path / "bad.json")
    (tmp_path / "edit.json").write_text('{"kind": "constant", "name": 3}')
    with pytest.raises(DataError, match=r"edit\.json\.name: expected str"):
        read_record(Edit, tmp_path / "edit.json")


def test_digest_of_a_file_is_the_digest_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 100_000)
    entry = fingerprint(tmp_path / "f", "name")
    assert (entry.path, entry.bytes) == ("name", 100_000)
    assert entry.sha256 == digest_file(tmp_path / "f")


def test_a_file_too_large_to_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(io, "MAX_BYTES", 3)
    path = tmp_path / "log"
    path.write_bytes(b"abc")
    assert read_file(path) == b"abc"
    path.write_bytes(b"abcd")
    with pytest.raises(DataError, match="at most 3 bytes, found 4"):
        read_file(path)
