"""Reading other people's ``results.tsv`` files and run logs.

Tolerant of form (separators, headers, encodings, words), strict about meaning:
what had to be assumed is told in :attr:`Table.assumptions`, and what could not
be understood in :attr:`Table.problems`, with line and column.  Nothing is
invented and nothing is dropped in silence.  Pure: bytes in, records out.
"""

from ratchet.dialects.decoding import decode_text
from ratchet.dialects.reading import read_table
from ratchet.dialects.replicates import incumbent_runs
from ratchet.dialects.runs import RunLog, read_run
from ratchet.dialects.table import LogRow, Problem, RowStatus, Table

__all__ = [
    "LogRow",
    "Problem",
    "RowStatus",
    "RunLog",
    "Table",
    "decode_text",
    "incumbent_runs",
    "read_run",
    "read_table",
]
