"""Whether a session rests on what it says, and what was noticed on the way."""

from __future__ import annotations

from ratchet.report import text
from ratchet.report.inputs import Facts, SessionRecords

MOST_FLAGS = 200
MOST_DEVIATIONS = 50


def soundness(records: SessionRecords, tried: list[Facts], checks: list[Facts]) -> Facts:
    """What was hashed again for this report, deviations, and the flags raised.

    ``intact`` is ``None`` where nothing was hashed again.
    """
    found = records.integrity
    flags = [*_limits(records), *_drift(checks)]
    for e in tried:
        flags += [_flag(e["number"], words) for words in _of_experiment(e)]
    return {
        "intact": None if found is None else not found.deviations,
        "checked": [] if found is None else [text.label(line) for line in found.checked],
        "deviations": []
        if found is None
        else [text.label(line, 600) for line in found.deviations[:MOST_DEVIATIONS]],
        "deviations_in_all": 0 if found is None else len(found.deviations),
        "flags": flags[:MOST_FLAGS],
        "flags_in_all": len(flags),
    }


def _flag(number: int | None, words: str) -> Facts:
    return {"number": number, "text": words}


def _of_experiment(e: Facts) -> list[str]:
    said = []
    if e["verdict"] == "TAMPERED":
        said.append(f"TAMPERED: {e['reason']}")
    if e["quarantined"]:
        said.append("quarantined: larger than everything seen before")
    return [*said, *e["notes"]]


def _limits(records: SessionRecords) -> list[Facts]:
    """What could not be enforced on this machine."""
    found = sorted({line for d in records.runs.values() for line in d.unenforced})
    said = [_flag(None, f"not enforced on this machine: {text.label(line)}") for line in found]
    if any(d.isolation == "none" for d in records.runs.values()):
        said.append(_flag(None, "runs were ordinary processes, not isolated"))
    return said


def _drift(checks: list[Facts]) -> list[Facts]:
    return [
        _flag(c["number"] or None, f"the incumbent moved before round {c['round']} (alarm)")
        for c in checks
        if c["alarm"]
    ]
