"""``results.tsv``: rows are appended, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ratchet import files, journal
from ratchet.canonical import digest_bytes, short
from ratchet.results_tsv import Row, format_row, header


def record(path: Path, metric: str, first: int, rows: Sequence[Row]) -> None:
    """Make sure that rows stand in the table at ``path``, ``first`` counting from the baseline.

    Rows that are there already stay; a replay writes nothing.  If another
    ruling stands in their place (the judge has changed since), the old table is
    set aside under its digest and a new one goes on from the rows before.
    """
    wanted = [format_row(row) for row in rows]
    lines = _whole_lines(path)
    if not lines:
        lines = [header(metric)]
        journal.append_line(path, lines[0])
    there = lines[1 + first : 1 + first + len(wanted)]
    if there != wanted[: len(there)]:
        old = files.read_bytes(path)
        aside = path.with_name(f"{path.stem}.superseded-{short(digest_bytes(old))}{path.suffix}")
        files.write_bytes(aside, old)
        files.write_bytes(path, "".join(f"{x}\n" for x in lines[: 1 + first]).encode())
        there = []
    for line in wanted[len(there) :]:
        journal.append_line(path, line)


def _whole_lines(path: Path) -> list[str]:
    """Lines of the table; one that a crash cut short is dropped from the file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        files.write_bytes(path, whole)
    return whole.decode("utf-8", errors="replace").splitlines()
