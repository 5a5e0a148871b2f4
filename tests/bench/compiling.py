"""What a compile cache saves at the start of a run of tasks/gpt, and that it changes no result.

Compiles the smallest preset on a CPU, where ``train.py`` compiles nothing by itself: a cold
run, the warm-up that fills the cache, and warm runs of the same seed and of another one::

    RATCHET_GPT_PYTHON=.venv-gpt/bin/python PYTHONPATH=tests \\
        .venv-dev/bin/python tests/bench/compiling.py

Printed are wall seconds from the start of a run to its evaluation that were no training, and
the processor's seconds until then, which do not depend on what else the machine does.  By
these a warm run must start within a third of a cold one's time, and print the same numbers,
those of time apart; else the exit status is 1.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from helpers import GPT, load_task, run_plans
from ratchet.base.structs import replace
from ratchet.records.records import Outcome
from ratchet.records.store import LOG, RunRecord
from ratchet.runs.compile_cache import CompileCaches
from ratchet.runs.run import compiled_cache, execute_run
from ratchet.runs.spec import RunSpec
from ratchet.task.environment import ask_interpreter
from ratchet.task.presets import preset_sources
from ratchet.task.task import GB

BLANK = ["train.bin"]
ON_GPU, ANYWHERE = "if COMPILE and on_gpu", "if COMPILE"
TIMES = {"training_seconds", "total_seconds"}


def tiny_plan(root: Path, python: str, steps: int, isolation: str) -> RunSpec:
    """A run of the smallest preset, compiled, with its data prepared."""
    task, data = load_task(GPT), root / "data"
    (preset,) = (each for each in task.presets if each.name == "cpu-tiny")
    source = preset_sources(task, preset.constants, preset.name)["train.py"].decode()
    if ON_GPU not in source:
        sys.exit(f"train.py does not say any more: {ON_GPU}")
    subprocess.run(
        [python, str(GPT / "prepare.py"), "--out", str(data)],
        env={**os.environ, **preset.environment},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return run_plans.plan(
        root,
        source.replace(ON_GPU, ANYWHERE),
        command=list(task.command),
        fixed={name: (GPT / name).read_bytes() for name in task.fixed},
        data={name: (data / name).read_bytes() for name in task.visible_data},
        evaluator=list(task.evaluator),
        evaluation_data={name: (data / name).read_bytes() for name in task.evaluation_data},
        variables=task.environment_of(preset),
        budget_seconds=None,
        budget_steps=steps,
        timeout_seconds=1800.0,
        metric=task.metric.name,
        names=task.printed_names,
        counted=task.counted_names,
        python=ask_interpreter(Path(python).absolute()),
        isolation=isolation,
    )


def numbers(record: RunRecord) -> dict[str, float | None]:
    """What a run printed, but for its times."""
    return {name: value for name, value in record.metrics.items() if name not in TIMES}


def used(record: RunRecord) -> float:
    """Seconds of the processor until the evaluation."""
    assert record.evaluation is not None
    return record.evaluation.trained_cpu_seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--isolation", default="auto")
    given = parser.parse_args()
    python = os.environ.get("RATCHET_GPT_PYTHON")
    if not python:
        print("skipped: RATCHET_GPT_PYTHON names no interpreter with PyTorch")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        spec = tiny_plan(root, python, given.steps, given.isolation)
        store = run_plans.store(root)
        records: dict[str, RunRecord] = {}

        def make(name: str, plan: RunSpec) -> None:
            place = root / "store" / name.replace(" ", "-")
            place.mkdir()
            record = records[name] = execute_run(plan, store, place)
            if record.outcome is not Outcome.OK or record.evaluation is None:
                sys.exit(f"{name}: {record.reason}\n{(place / LOG).read_text()[-2000:]}")
            print(
                f"{name:12}starts in {record.start_seconds or math.nan:6.1f} s, "
                f"{used(record):6.1f} CPU s, under {record.isolation}",
                flush=True,
            )

        make("cold", spec)
        caches = CompileCaches(store, GB)
        found, told = compiled_cache(spec, caches, BLANK, root / "store" / "warm-up")
        size = sum(path.stat().st_size for path in found.folder.rglob("*"))
        print(f"warm-up     {told['wall_seconds']:.1f} s, {len(found.files)} files, {size:,} bytes")
        make("warm", replace(spec, compiled=found))
        make("other seed", replace(spec, compiled=found, seed=spec.seed + 1))
    cold, warm = records["cold"], records["warm"]
    share, same = used(warm) / used(cold), numbers(cold) == numbers(warm)
    print(f"a warm run starts in {share:.2f} of the cold one's time; equal numbers: {same}")
    return 0 if share <= 1 / 3 and same else 1


if __name__ == "__main__":
    sys.exit(main())
