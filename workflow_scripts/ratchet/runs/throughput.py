"""Throughput of a run, and how it used its machine: steps, tokens and FLOPs per second, load.

From a run's record, the samples of its machine and its curve.  The numbers that a run printed
are a candidate's; no verdict rests on what is made of them here.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from ratchet.base.structs import Frozen
from ratchet.records.history import Trial
from ratchet.records.series import CurvePoint, Sample, read_curve
from ratchet.records.store import RunRecord, Store
from ratchet.runs.hardware import throttle_names

PEAK_TFLOPS: Mapping[str, float] = {
    # Dense bf16 with sums in fp32, from NVIDIA's data sheets and architecture papers, which often
    # print twice as much, for matrices that are half zeros.
    r"(H100|H200|H800)( 80GB HBM3| 141GB HBM3e)?": 989.5,  # h100-datasheet, h200-datasheet: SXM
    r"GH200( (144G|480GB)( HBM3e?)?)?": 989.5,  # gh200-grace-hopper-superchip-datasheet
    r"(H100|H800) PCIe": 756.5,  # h100-datasheet, 2022
    r"(H100|H200) NVL": 835.5,  # h100-datasheet, h200-datasheet
    r"B200": 2250.0,  # dgx-b200-datasheet: 36 PFLOPS sparse of eight
    r"(A100|A800)([- ](SXM4|SXM|PCIE|PCIe|80GB PCIe|SXM-64GB)(-\d+GB)?)?": 312.0,  # a100-datasheet
    r"A30": 165.0,  # a30-datasheet
    r"A40": 149.7,  # a40-datasheet
    r"A10": 125.0,  # a10-datasheet
    r"A10G": 70.0,  # as Amazon lists the G5 instances' card
    r"L4": 121.0,  # l4-datasheet
    r"L40": 181.0,  # l40-datasheet
    r"L40S": 362.0,  # l40s-datasheet
    r"RTX A6000": 154.8,  # ampere-ga102-gpu-architecture paper
    r"RTX 6000 Ada Generation": 364.2,  # rtx-6000-ada datasheet
    r"RTX 3090": 71.0,  # ampere-ga102-gpu-architecture paper
    r"RTX 4090": 165.2,  # ada-gpu-architecture paper
    r"RTX 5090": 209.5,  # rtx-blackwell-gpu-architecture paper
    # Without bf16: fp16 with sums in fp32.
    r"T4": 65.0,  # t4-tensor-core-datasheet
    r"V100-SXM[23](-\d+GB)?(-LS)?": 125.0,  # v100-datasheet
    r"V100-PCIE-\d+GB": 112.0,
    r"V100S-PCIE-\d+GB": 130.0,
}
"""Peak of a GPU in 1e12 operations per second, by its name without maker and family.

Versions for laptops, slices of a GPU and others that are not listed are not known."""

FLOPS_PER_PARAMETER = 6
"""Operations of a training step for each parameter and token: one multiplication and one addition
forward, twice as many backward.  What attention adds is left out."""

PRINTED, ESTIMATED = "as printed", "6 FLOPs per parameter and token"
"""Where the model FLOPs utilisation is from."""


class MachineUse(Frozen):
    """How a run, or several together, used their machine; ``None`` for what is not known.

    ``train_seconds`` are training alone, ``wall_seconds`` the whole run.  ``cpu_percent`` is the
    mean number of busy cores in percent, ``peak_memory_mb`` that of the GPU where one was
    watched, ``temperature_c`` the highest.  ``mfu_percent`` is the model FLOPs utilisation, and
    ``mfu_from`` says where it is from.  ``throttled`` names what slowed the GPU's clock down.
    """

    wall_seconds: float
    train_seconds: float | None = None
    steps_per_second: float | None = None
    tokens_per_second: float | None = None
    mfu_percent: float | None = None
    mfu_from: str = ""
    peak_memory_mb: float | None = None
    cpu_percent: float | None = None
    gpu: str | None = None
    gpu_percent: float | None = None
    power_watts: float | None = None
    temperature_c: float | None = None
    sm_clock_mhz: float | None = None
    throttled: tuple[str, ...] = ()


def peak_tflops(gpu: str | None) -> float | None:
    """Peak of a GPU by the name that its driver gives; ``None`` if it is not listed."""
    words = re.sub(r"^(NVIDIA )?(GeForce |Tesla )?", "", gpu or "")
    return next((top for name, top in PEAK_TFLOPS.items() if re.fullmatch(name, words)), None)


def machine_use(record: RunRecord, curve: Sequence[CurvePoint] = ()) -> MachineUse:
    """How a run used its machine; rates by the numbers that it printed, else by its curve."""
    telemetry = record.telemetry or {}
    steps, tokens = _rates(record, curve)
    mfu, source = _mfu(record, tokens, telemetry.get("gpu"))

    def told(name: str, which: str) -> float | None:
        found: float | None = (telemetry.get(name) or {}).get(which)
        return found

    wall = record.wall_seconds
    return MachineUse(
        wall_seconds=wall,
        train_seconds=record.train_seconds,
        steps_per_second=steps,
        tokens_per_second=tokens,
        mfu_percent=mfu,
        mfu_from=source,
        peak_memory_mb=record.peak_memory_mb,
        cpu_percent=100 * record.cpu_seconds / wall if wall > 0 else None,
        gpu=telemetry.get("gpu"),
        gpu_percent=told("utilisation", "mean"),
        power_watts=told("power_watts", "mean"),
        temperature_c=told("temperature_c", "max"),
        sm_clock_mhz=told("sm_clock_mhz", "mean"),
        throttled=tuple(telemetry.get("throttled") or ()),
    )


def _rates(record: RunRecord, curve: Sequence[CurvePoint]) -> tuple[float | None, float | None]:
    """Steps and tokens per second of training."""
    seconds, steps = record.train_seconds, record.metrics.get("num_steps")
    millions = record.metrics.get("total_tokens_M")
    by_steps = _ratio(steps, seconds)
    by_tokens = _ratio(None if millions is None else 1e6 * millions, seconds)
    timed = [point for point in curve if point.seconds is not None]
    if len(timed) < 2:
        return by_steps, by_tokens
    # From the first line on: before it a run starts and compiles.
    first, last = timed[0], timed[-1]
    lasted = (last.seconds or 0.0) - (first.seconds or 0.0)
    if by_steps is None:
        by_steps = _ratio(last.step - first.step, lasted)
    if by_tokens is None and first.tokens is not None and last.tokens is not None:
        by_tokens = _ratio(last.tokens - first.tokens, lasted)
    return by_steps, by_tokens


def _ratio(amount: float | None, seconds: float | None) -> float | None:
    if amount is None or seconds is None or amount <= 0 or seconds <= 0:
        return None
    found = amount / seconds
    return found if 0 < found < 1e18 else None  # what was printed may be anything


def _mfu(
    record: RunRecord, tokens_per_second: float | None, gpu: str | None
) -> tuple[float | None, str]:
    """Model FLOPs utilisation in percent, and where it is from."""
    printed, millions = (record.metrics.get(name) for name in ("mfu_percent", "num_params_M"))
    if printed is not None and 0 < printed <= 100:
        return printed, PRINTED
    peak = peak_tflops(gpu)
    if peak is None or millions is None or millions <= 0 or tokens_per_second is None:
        return None, ""
    used = 100 * FLOPS_PER_PARAMETER * millions * 1e6 * tokens_per_second / (peak * 1e12)
    # More than all there is: what was printed is not so.
    return (used, ESTIMATED) if 0 < used <= 100 else (None, "")


_MOST = ("peak_memory_mb", "temperature_c")


def joint_use(uses: Sequence[MachineUse]) -> MachineUse | None:
    """The same of several runs of one code: means, the highest memory and temperature, and all
    that throttled any of them; ``None`` of none."""
    if not uses:
        return None

    def of(name: str) -> float | None:
        known = [value for use in uses if (value := getattr(use, name)) is not None]
        return None if not known else max(known) if name in _MOST else fmean(known)

    numbers = {
        name: of(name)
        for name in MachineUse.__struct_fields__
        if name not in ("wall_seconds", "mfu_from", "gpu", "throttled")
    }
    return MachineUse(
        wall_seconds=fmean(use.wall_seconds for use in uses),
        mfu_from=next((use.mfu_from for use in uses if use.mfu_from), ""),
        gpu=next((use.gpu for use in uses if use.gpu), None),
        throttled=tuple(dict.fromkeys(name for use in uses for name in use.throttled)),
        **numbers,
    )


def use_of_trial(trial: Trial, store: Store) -> MachineUse | None:
    """How all runs of a trial that ``store`` has used their machine; ``None`` without any."""
    known = [(run.key, record) for run in trial.runs if (record := store.recorded(run.key))]
    return joint_use([machine_use(record, read_curve(store, key)) for key, record in known])


def seconds_of_trial(trial: Trial, store: Store) -> tuple[float | None, float | None]:
    """Seconds of training, and of all time, of a trial's runs together.

    ``None`` as soon as one run did not measure it, or is not in ``store`` any more.
    """
    records = [store.recorded(key) for key in dict.fromkeys(run.key for run in trial.runs)]
    training = [None if record is None else record.train_seconds for record in records]
    return _sum(training), _sum(None if r is None else r.wall_seconds for r in records)


def _sum(values: Iterable[float | None]) -> float | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return math.fsum(known) if known and len(known) == len(found) else None


SERIES = ("cpu_percent", "memory_mb", "gpu_percent", "gpu_memory_mb", "power_watts")
"""Fields of a sample that are worth a picture, besides the temperature and the clock of a GPU."""

MOST_SHOWN = 60
"""Points of such a picture: more are closer together than its lines are wide."""


def samples_shown(samples: Sequence[Sample]) -> dict[str, Any] | None:
    """A series as columns for a picture; ``None`` of fewer than two samples.

    Of a long series each point stands for a few samples: their mean, and the most of their
    memory.  Columns that are not known at any time are left out; ``throttled`` says what slowed
    the GPU's clock down at any time.
    """
    if len(samples) < 2:
        return None
    size = math.ceil(len(samples) / MOST_SHOWN)
    groups = [samples[i : i + size] for i in range(0, len(samples), size)]
    columns: dict[str, list[float | None]] = {}
    for name in (*SERIES, "temperature_c", "sm_clock_mhz"):
        peak = name.endswith("memory_mb")
        values = [_shown([getattr(s, name) for s in group], peak) for group in groups]
        if any(value is not None for value in values):
            columns[name] = values
    bits = 0
    for sample in samples:
        bits |= sample.throttle or 0
    return {
        "seconds": [round(group[-1].seconds, 1) for group in groups],
        **columns,
        "throttled": throttle_names(bits),
    }


def _shown(values: Sequence[float | None], peak: bool) -> float | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return round(max(known) if peak else fmean(known), 1)


def use_sentence(use: MachineUse) -> str:
    """How a run used its machine, in words; times, memory and what is not known are left out."""
    parts = []
    for name, said in (
        ("steps_per_second", "{} steps/s"),
        ("tokens_per_second", "{} tokens/s"),
        ("mfu_percent", "MFU {:.1f} %"),
        ("cpu_percent", "CPU {:.0f} %"),
        ("gpu_percent", "GPU {:.0f} %"),
        ("power_watts", "{:.0f} W"),
        ("temperature_c", "up to {:.0f} °C"),
        ("sm_clock_mhz", "{:.0f} MHz"),
    ):
        value = getattr(use, name)
        if value is not None:
            parts.append(said.format(_three_digits(value) if "{}" in said else value))
    if use.mfu_percent is not None:
        place = next(i for i, part in enumerate(parts) if part.startswith("MFU"))
        parts[place] += f" ({use.mfu_from})"
    if use.throttled:
        parts.append(f"throttled ({', '.join(use.throttled)})")
    return ", ".join(parts)


def _three_digits(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
