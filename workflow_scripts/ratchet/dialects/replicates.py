"""Which rows are further runs of the incumbent rather than candidates."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ratchet.dialects.table import LogRow, RowStatus

# A hash after "seed-" names a proposal; "data_seed" is a setting.
_AGAIN = re.compile(
    r"\b(re-?runs?|re-?measur\w*|replicates?|replica|seeds?(?!-[0-9a-f]{6})|repeat(ed)?"
    r"|same (code|config\w*|settings))\b",
    re.IGNORECASE,
)


def incumbent_runs(rows: Sequence[LogRow]) -> list[bool]:
    """For each row whether it is a run of the incumbent's unchanged code.

    Rows that were not kept and speak of a seed, a re-run or a replicate, and
    baselines logged before anything was kept.
    """
    found = []
    kept = False
    for row in rows:
        unkept = row.status in (RowStatus.DISCARD, RowStatus.PENDING)
        again = unkept and _AGAIN.search(row.description) is not None
        first = row.status is RowStatus.BASELINE and not kept
        found.append(row.value is not None and (again or first))
        kept |= row.status is RowStatus.KEEP
    return found
