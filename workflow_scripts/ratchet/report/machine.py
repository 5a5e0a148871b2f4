"""Use of the machine by an experiment: its facts, and its series as small drawings."""

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from ratchet.base.structs import to_json_values
from ratchet.base.text import format_number, one_line_label
from ratchet.records.history import Trial
from ratchet.report.inputs import Facts, SessionRecords
from ratchet.runs.probe import POWER_CAP
from ratchet.runs.throughput import joint_use, machine_use, samples_shown, use_sentence


def machine_facts(trial: Trial, records: SessionRecords) -> Facts | None:
    """Use of the machine by all runs of a trial, with the series of the telling one.

    ``None`` where the store has none of them.
    """
    known = [(run.key, records.runs[run.key]) for run in trial.runs if run.key in records.runs]
    use = joint_use([machine_use(record, records.curves.get(key, ())) for key, record in known])
    if use is None:
        return None
    telling = trial.telling_run
    return {
        **to_json_values(use),
        "gpu": None if use.gpu is None else one_line_label(use.gpu, 80),
        "sentence": one_line_label(use_sentence(use), 400),
        "samples": samples_shown(records.samples.get(telling.key, ()) if telling else ()),
    }


def throttling(tried: Sequence[Facts]) -> Iterator[tuple[int | None, str]]:
    """Experiments whose GPU was slowed down by more than its usual limit of power, in words."""
    for e in tried:
        found = e["machine"]["throttled"] if e["machine"] else ()
        reasons = [name for name in found if name != POWER_CAP]
        if reasons:
            yield e["number"], f"the GPU was throttled while it ran ({', '.join(reasons)})"


# Field of a sample, its name and unit, and where its axis ends at least.
_ROWS = (
    ("cpu_percent", "CPU, % of one core", 100.0),
    ("memory_mb", "Memory, MiB", 0.0),
    ("gpu_percent", "GPU, %", 100.0),
    ("gpu_memory_mb", "GPU memory, MiB", 0.0),
    ("power_watts", "GPU power, W", 0.0),
    ("temperature_c", "GPU temperature, °C", 100.0),
    ("sm_clock_mhz", "GPU clock, MHz", 0.0),
)
SPARK_WIDTH, SPARK_HEIGHT = 160, 26
"""Size of a small drawing in pixels."""


def sparklines(machine: Facts) -> list[Facts]:
    """A row for each series of an experiment: its name, its drawing, its mean and its most."""
    samples = machine["samples"] or {}
    found = []
    for field, name, least in _ROWS:
        values = samples.get(field, ())
        known = [value for value in values if value is not None]
        if known:
            mean, most = sum(known) / len(known), max(known)
            found.append(
                {
                    "name": name,
                    "drawing": _spark(samples["seconds"], values, max(most, least)),
                    "mean": format_number(mean, 0),
                    "most": format_number(most, 0),
                }
            )
    return found


def _spark(seconds: Sequence[float], values: Sequence[float | None], top: float) -> Markup:
    """A line over time from 0 to ``top``, with gaps where nothing is known."""
    # In half pixels: a page has many of them.
    width, height = 2 * SPARK_WIDTH, 2 * SPARK_HEIGHT
    places: list[tuple[int, int] | None] = []
    for at, value in zip(seconds, values, strict=True):
        x = round(width * at / (seconds[-1] or 1.0))
        y = None if value is None else round(2 + (height - 4) * (1 - value / (top or 1.0)))
        if len(places) > 1 and places[-1] and places[-2] and y == places[-1][1] == places[-2][1]:
            places.pop()
        places.append(None if y is None else (x, y))
    path = "".join(
        f"{'L' if before else 'M'}{place[0]} {place[1]}"
        for before, place in zip([None, *places], places, strict=False)
        if place is not None
    )
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" width="{}" height="{}" '
        'preserveAspectRatio="none" aria-hidden="true"><path d="{}"/></svg>'
    ).format(width, height, SPARK_WIDTH, SPARK_HEIGHT, path)
