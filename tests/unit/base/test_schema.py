"""YAML for people: numbers as they write them, errors with line and column."""

from pathlib import Path

import pytest

from ratchet.base.errors import ConfigError, InputMissingError
from ratchet.base.schema import check_schema, load_yaml, parse_yaml


def test_scientific_numbers_are_numbers() -> None:
    found = parse_yaml(b"[1e-3, 3e4, -2E+1, 3.0e-4, 12, 1.5, e5, 1e]", "x")
    assert found == [0.001, 30000.0, -20.0, 0.0003, 12, 1.5, "e5", "1e"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"a: [1\n", r"f\.yaml:2:1: is not valid YAML"),
        (b"a: 1\n\tb: 2\n", r"f\.yaml:2:1: is not valid YAML"),
        (b"\xff\xfe", r"f\.yaml: is not UTF-8 text \(byte 0\)"),
        (b"a: !!python/object/apply:os.system ['true']", r"is not valid YAML"),
        (b"a: \x01", r"is not valid YAML"),
    ],
)
def test_bad_text_is_located(tmp_path: Path, text: bytes, words: str) -> None:
    (tmp_path / "f.yaml").write_bytes(text)
    with pytest.raises(ConfigError, match=words):
        load_yaml(tmp_path / "f.yaml")
    with pytest.raises(InputMissingError, match="cannot be read"):
        load_yaml(tmp_path)


def test_places_inside_lists_are_named() -> None:
    schema = {"properties": {"a": {"items": {"type": "integer"}}}}
    with pytest.raises(ConfigError, match=r"^f: a\.1: expected a whole number, found 'x'$"):
        check_schema({"a": [1, "x"]}, schema, "f")
    check_schema({"a": [1, 2]}, schema, "f")
