"""Words and numbers in the cells of other people's logs."""

import pytest

from ratchet.logs.words import direction_of, memory_of, number_of, status_of

STATUSES = {
    "keep": ("KEEP", "kept", "BEST", "accepted (lower loss)", "confirmed-keep", "improved: yes"),
    "discard": (
        "REJECTED (slower, no keep)",
        "not kept",
        "NEUTRAL",
        "no-op (same)",
        "size_violation (big)",
    ),
    "crash": ("OOM", "timeout", "NO_JSON", "checks_failed: lint"),
    "baseline": ("baseline",),
    "pending": ("running", "RETEST", "confirm", "-", ""),
    "note": ("note",),
    None: ("timed-out", "keep discard", "0.9979", "banana"),
}


@pytest.mark.parametrize(
    ("text", "expected"), [(text, status) for status, texts in STATUSES.items() for text in texts]
)
def test_status_words(text: str, expected: str | None) -> None:
    found = status_of(text)
    assert (found and found.value) == expected


def test_numbers_and_units() -> None:
    cells = {"**0.5**": 0.5, "33.7%": 33.7, "+1e-3": 0.001, "1,234.5": 1234.5, "DIVERGED": None}
    assert {cell: number_of(cell) for cell in cells} == cells
    memory = {
        ("2048", "peak_vram_mb"): 2.0,
        ("2048 MB", "memory_gb"): 2.0,
        ("44.0GB", "memory"): 44.0,
        ("0.0", "memory_gb"): None,
    }
    assert {given: memory_of(*given) for given in memory} == memory


def test_direction_by_name() -> None:
    names = {"val_bpb": "minimize", "success_rate": "maximize", "tok_s": "maximize", "glork": None}
    assert {name: direction_of(name) for name in names} == names
