"""Rates, model FLOPs utilisation and use of the machine, from what runs printed and measured."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.records.records import Outcome
from ratchet.records.series import CurvePoint, Sample
from ratchet.records.store import RunRecord
from ratchet.runs.throughput import (
    ESTIMATED,
    MOST_SHOWN,
    PRINTED,
    joint_use,
    machine_use,
    peak_tflops,
    samples_shown,
    use_sentence,
)

PRINTED_ALL = {
    "training_seconds": 300.0,
    "num_steps": 900.0,
    "total_tokens_M": 471.9,
    "num_params_M": 50.0,
}
H100 = {"gpu": "NVIDIA H100 80GB HBM3", "utilisation": {"min": 0, "mean": 96.5, "max": 100}}
CURVE = [CurvePoint(10, 5.0, 30.0, 1e6), CurvePoint(20, 4.0), CurvePoint(110, 3.0, 80.0, 11e6)]


def record(metrics: dict[str, float | None], **fields: Any) -> RunRecord:
    values: dict[str, Any] = {"exit_code": 0, "signal": None, "wall_seconds": 320.0}
    values |= {"cpu_seconds": 160.0, "peak_rss_mb": 900.0, **fields}
    return RunRecord(outcome=Outcome.OK, reason="", metrics=metrics, **values)


def test_rates_are_of_training_and_by_what_was_printed() -> None:
    use = machine_use(record(PRINTED_ALL, telemetry=H100), CURVE)
    assert (use.wall_seconds, use.train_seconds) == (320.0, 300.0)
    assert use.steps_per_second == pytest.approx(3.0)
    assert use.tokens_per_second == pytest.approx(1.573e6)
    # 6 × 50e6 × 1.573e6 operations of 989.5e12 per second.
    assert use.mfu_percent == pytest.approx(47.7, abs=0.1)
    assert use.mfu_from == ESTIMATED
    assert (use.cpu_percent, use.gpu_percent) == (50.0, 96.5)
    told = use_sentence(use)
    assert told.startswith("3 steps/s, 1,573,000 tokens/s, MFU 47.7 % (6 FLOPs per parameter and")


def test_the_curve_tells_what_was_not_printed() -> None:
    use = machine_use(record({}), CURVE)
    assert use.train_seconds is None
    assert use.steps_per_second == pytest.approx(2.0)
    assert use.tokens_per_second == pytest.approx(2e5)
    for curve in ([], CURVE[:1], [CURVE[0], CURVE[0]], [CurvePoint(1, 2.0), CurvePoint(9, 2.0)]):
        assert machine_use(record({}), curve).steps_per_second is None


def test_what_was_printed_of_the_mfu_is_taken_as_it_is_if_it_can_be() -> None:
    printed = machine_use(record({**PRINTED_ALL, "mfu_percent": 39.8}, telemetry=H100))
    assert (printed.mfu_percent, printed.mfu_from) == (39.8, PRINTED)
    # Neither more than all, nor nothing, nor without a GPU whose peak is known.
    for metrics, telemetry in (
        ({**PRINTED_ALL, "mfu_percent": 0.0, "num_params_M": 5e6}, H100),
        ({**PRINTED_ALL, "mfu_percent": -4.0}, None),
        (PRINTED_ALL, {"gpu": "Made-up 9000"}),
        ({**PRINTED_ALL, "num_params_M": None}, H100),
    ):
        use = machine_use(record(metrics, telemetry=telemetry))
        assert (use.mfu_percent, use.mfu_from) == (None, "")


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.5),
        ("NVIDIA H100 PCIe", 756.5),
        ("NVIDIA H200", 989.5),
        ("NVIDIA H200 NVL", 835.5),
        ("NVIDIA GH200 480GB", 989.5),
        ("NVIDIA B200", 2250.0),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA A100 80GB PCIe", 312.0),
        ("A100-PCIE-40GB", 312.0),
        ("NVIDIA A10G", 70.0),
        ("NVIDIA L4", 121.0),
        ("NVIDIA L40S", 362.0),
        ("Tesla T4", 65.0),
        ("Tesla V100-SXM2-16GB", 125.0),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("Made-up 9000", None),
        ("", None),
        (None, None),
    ],
)
def test_peaks_of_gpus_by_the_name_that_the_driver_gives(name: str, peak: float | None) -> None:
    assert peak_tflops(name) == peak


NUMBERS = st.none() | st.floats(allow_nan=False) | st.sampled_from([0.0, 5e-324, 1.7e308])


@given(st.fixed_dictionaries(dict.fromkeys((*PRINTED_ALL, "mfu_percent"), NUMBERS)))
def test_odd_numbers_give_finite_rates_or_none(metrics: dict[str, float | None]) -> None:
    use = machine_use(record(metrics, telemetry=H100))
    for value in (use.steps_per_second, use.tokens_per_second, use.mfu_percent):
        assert value is None or (math.isfinite(value) and value > 0)
    assert use.mfu_percent is None or use.mfu_percent <= 100
    use_sentence(use)


def test_runs_of_one_code_together() -> None:
    warm = {**H100, "temperature_c": {"max": 80}, "throttled": ["power cap"]}
    hot = {**H100, "temperature_c": {"max": 90}, "throttled": ["hardware slowdown", "power cap"]}
    runs = [record(PRINTED_ALL, telemetry=warm), record({}, telemetry=hot, wall_seconds=20.0)]
    use = joint_use([machine_use(run) for run in runs])
    assert use is not None
    assert (use.wall_seconds, use.train_seconds, use.temperature_c) == (170.0, 300.0, 90)
    assert use.throttled == ("power cap", "hardware slowdown")
    assert use_sentence(use).endswith("up to 90 °C, throttled (power cap, hardware slowdown)")
    assert joint_use([]) is None


@given(st.integers(2, 700))
def test_a_series_for_a_picture_is_short_and_covers_all_the_time(count: int) -> None:
    samples = [Sample(float(n), 50.0, float(n), throttle=4 * (n == 1)) for n in range(1, count + 1)]
    shown = samples_shown(samples)
    assert shown is not None
    assert set(shown) == {"seconds", "cpu_percent", "memory_mb", "throttled"}
    assert len(shown["seconds"]) == len(shown["cpu_percent"]) <= MOST_SHOWN
    assert shown["seconds"][-1] == shown["memory_mb"][-1] == count
    assert set(shown["cpu_percent"]) == {50.0}
    assert shown["throttled"] == ["power cap"]


def test_no_picture_of_fewer_than_two_samples() -> None:
    assert samples_shown([]) is samples_shown([Sample(1.0, 3.0)]) is None
