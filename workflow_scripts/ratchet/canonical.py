"""Canonical JSON and digests: the identity of everything that is stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ratchet.errors import DataError


def canonical_json(value: Any) -> str:
    """One text per value: sorted keys, no spaces, ASCII, finite numbers only.

    Raises :class:`DataError` for a value that JSON cannot hold, NaN and
    infinities included, since two readers would disagree on them.
    """
    try:
        return json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"cannot be written as canonical JSON: {error}") from None


def digest_bytes(data: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, in hexadecimal."""
    return digest_bytes(canonical_json(value).encode("ascii"))


def source_digest(files: Mapping[str, str]) -> str:
    """Identity of a candidate's source: a mapping from path to content digest."""
    return digest(dict(files))


def short(sha: str) -> str:
    """The part of a digest that people compare by eye."""
    return sha[:12]
