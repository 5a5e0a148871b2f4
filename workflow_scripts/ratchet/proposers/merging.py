"""Carry an edit over to another incumbent, as git merges branches."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from ratchet import git
from ratchet.proposers.ideas import same_sources, syntax_error


def carry_over(
    parent: Mapping[str, str], edited: Mapping[str, str], incumbent: Mapping[str, str]
) -> dict[str, str] | None:
    """What ``edited`` changed in ``parent``, done to ``incumbent``, file by file.

    ``None`` if both changed the same lines, if the result cannot be parsed, or if
    nothing is left to do.
    """
    if not set(parent) == set(edited) == set(incumbent):
        return None
    merged: dict[str, str] = {}
    for name, ours in incumbent.items():
        text = _merge(ours, parent[name], edited[name])
        if text is None or syntax_error(name, text) is not None:
            return None
        merged[name] = text
    return None if same_sources(incumbent, merged) else merged


def _merge(ours: str, base: str, theirs: str) -> str | None:
    """A three-way merge of texts; ``None`` where they conflict."""
    with tempfile.TemporaryDirectory(prefix="ratchet-merge-") as name:
        paths = []
        for number, text in enumerate((ours, base, theirs)):
            path = Path(name) / f"{number}"
            path.write_bytes(text.encode("utf-8", errors="surrogateescape"))
            paths.append(str(path))
        done = git.call("merge-file", "--stdout", "--quiet", *paths)
    if done.returncode != 0:
        return None
    return done.stdout.decode("utf-8", errors="surrogateescape")
