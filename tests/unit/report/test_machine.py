"""Series of the machine as small drawings."""

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ratchet.report.machine import SPARK_HEIGHT, SPARK_WIDTH, sparklines


def drawn(**series: Any) -> list[str]:
    """Path of each drawing."""
    samples = {"seconds": [1.0 + i for i in range(len(next(iter(series.values()))))], **series}
    rows = sparklines({"samples": {**samples, "throttled": []}})
    return [re.findall(r' d="([^"]*)"', str(row["drawing"]))[0] for row in rows]


def test_a_gap_is_no_line_and_a_flat_stretch_is_one() -> None:
    (path,) = drawn(gpu_percent=[None, 50.0, 50.0, 50.0, None, 100.0])
    assert path == "M107 26L213 26M320 2"
    assert sparklines({"samples": None}) == []
    assert drawn(memory_mb=[0.0, 0.0]) == ["M160 50L320 50"]


def test_rows_have_mean_and_most_and_percents_a_common_axis() -> None:
    load, memory = sparklines(
        {"samples": {"seconds": [1.0, 2.0], "cpu_percent": [20.0, 40.0], "memory_mb": [5.0, 9.0]}}
    )
    assert (load["name"], load["mean"], load["most"]) == ("CPU, % of one core", "30", "40")
    assert (memory["mean"], memory["most"]) == ("7", "9")
    assert drawn(cpu_percent=[20.0, 40.0]) != drawn(memory_mb=[20.0, 40.0])


@given(st.lists(st.none() | st.floats(0, 1e9), min_size=1, max_size=60))
def test_a_line_stays_in_its_drawing(values: list[float | None]) -> None:
    for path in drawn(power_watts=values):
        for x, y in re.findall(r"[ML](-?\d+) (-?\d+)", path):
            assert 0 <= int(x) <= 2 * SPARK_WIDTH
            assert 0 <= int(y) <= 2 * SPARK_HEIGHT
