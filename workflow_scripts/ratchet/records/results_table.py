"""``results.tsv``: Karpathy's five columns, one row per experiment, append-only.

``0.000000`` stands for a missing metric in this file, and only here.
"""

from collections.abc import Sequence
from pathlib import Path

from ratchet.base.io import digest_bytes, read_bytes, write_bytes
from ratchet.base.structs import Frozen
from ratchet.base.text import one_line
from ratchet.records.events import append_line
from ratchet.records.records import Status

MEMORY_COLUMN = "memory_gb"


class TableRow(Frozen):
    """One experiment; ``metric`` and ``memory_mb`` are ``None`` if unknown.

    The description of one that diverged says so, where upstream tells an OOM.
    """

    commit: str
    metric: float | None
    memory_mb: float | None
    status: Status
    description: str


def table_header(metric_name: str) -> str:
    """The first line, without its end."""
    return "\t".join(("commit", metric_name, MEMORY_COLUMN, "status", "description"))


def format_table_row(row: TableRow) -> str:
    """One line, without its end; the description cannot break the table."""
    metric = 0.0 if row.metric is None else row.metric
    memory_gb = (row.memory_mb or 0.0) / 1024
    return "\t".join(
        (
            row.commit[:7],
            f"{metric:.6f}",
            # Karpathy's one decimal would show a small task's memory as none.
            f"{memory_gb:.1f}" if memory_gb >= 0.1 or not memory_gb else f"{memory_gb:.4f}",
            row.status.value,
            one_line(row.description),
        )
    )


def record_rows(path: Path, metric: str, first: int, rows: Sequence[TableRow]) -> None:
    """Make sure that rows stand in the table at ``path``, ``first`` counting from the baseline.

    Rows that are there already stay; a replay writes nothing.  If another
    ruling stands in their place (the judge has changed since), the old table is
    set aside under its digest and a new one goes on from the rows before.
    """
    wanted = [format_table_row(row) for row in rows]
    lines = _whole_lines(path)
    if not lines:
        lines = [table_header(metric)]
        append_line(path, lines[0])
    there = lines[1 + first : 1 + first + len(wanted)]
    if there != wanted[: len(there)]:
        old = read_bytes(path)
        aside = path.with_name(f"{path.stem}.superseded-{digest_bytes(old)[:12]}{path.suffix}")
        write_bytes(aside, old)
        write_bytes(path, "".join(f"{x}\n" for x in lines[: 1 + first]).encode())
        there = []
    for line in wanted[len(there) :]:
        append_line(path, line)


def _whole_lines(path: Path) -> list[str]:
    """Lines of the table; one that a crash cut short is dropped from the file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        write_bytes(path, whole)
    return whole.decode("utf-8", errors="replace").splitlines()
