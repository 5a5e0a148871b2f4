"""What a run failed of, by how it ended and by its log's last words."""

import sys
from pathlib import Path

import pytest

from helpers import FAKE, REPO, load_task
from ratchet.base.structs import replace
from ratchet.records.records import Outcome, Preset
from ratchet.runs.causes import Cause, Circumstances, Failure, advice_on, find_failure
from ratchet.runs.outcome import RunEnding, classify_outcome

HEAD = """UserWarning: CUDA initialization: The NVIDIA driver on your system is too old
step 00001 | loss: 4.1
Traceback (most recent call last):
  File "/w/train.py", line 9, in <module>
    main(no_files_found, "requires macOS")
"""
FAILURES = [
    ("RuntimeError: No CUDA GPUs are available", Cause.DRIVER),
    ("RuntimeError: Found no NVIDIA driver on your system. Please check that you", Cause.DRIVER),
    ("pynvml.NVMLError_LibRmVersionMismatch: RM has detected an NVML/RM version", Cause.DRIVER),
    ("torch.AcceleratorError: CUDA error: no kernel image is available for\nDSA", Cause.DRIVER),
    ("ImportError: libcuda.so.1: cannot open shared object file", Cause.DRIVER),
    ("AssertionError: Torch not compiled with CUDA enabled", Cause.PLATFORM),
    ("RuntimeError: FlashAttention only supports Ampere GPUs or newer.", Cause.PLATFORM),
    ("ModuleNotFoundError: No module named 'triton'", Cause.PLATFORM),
    ("OSError: [Errno 8] Exec format error: './trainer'", Cause.PLATFORM),
    ("RuntimeError: This script requires macOS with Metal. Detected: linux", Cause.PLATFORM),
    ("ModuleNotFoundError: No module named 'einops.layers'", Cause.IMPORT),
    ("ImportError: cannot import name 'x' from 'lib' (/e/site-packages/lib/a.py)", Cause.LOCK),
    ("ImportError: cannot import name 'x' from 'prepare' (/w/prepare.py)", Cause.CODE),
    ("ValueError: numpy.dtype size changed, may indicate binary incompat", Cause.LOCK),
    ("FileNotFoundError: [Errno 2] No such file or directory: '/d/a.bin'", Cause.DATA),
    ("AssertionError: No parquet files found. Run prepare.py first.", Cause.DATA),
    ("urllib.error.URLError: <urlopen error Name or service not known>", Cause.DATA),
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", Cause.MEMORY),
    ("MemoryError", Cause.MEMORY),
    ("NameError: name 'model' is not defined", Cause.CODE),
    ("SyntaxError: invalid syntax", Cause.CODE),
    ("KeyError: 'data'", Cause.CODE),
]


@pytest.mark.parametrize(("line", "cause"), FAILURES)
def test_the_last_error_decides_and_no_line_of_code_or_warning(line: str, cause: Cause) -> None:
    log = HEAD + line + "\n"
    ending = classify_outcome(RunEnding(metric="loss", log=log, code=1))
    found = find_failure(ending.outcome, ending.sentence, log)
    assert found.cause is cause
    assert line.startswith(found.words)


@pytest.mark.parametrize(
    ("outcome", "log", "cause"),
    [
        (Outcome.TIMEOUT, "step 3", Cause.TIMEOUT),
        (Outcome.KILLED, "step 3", Cause.MACHINE),
        (Outcome.CONTENDED, "", Cause.MACHINE),
        (Outcome.NO_METRIC, "done, no files found\n", Cause.METRIC),
        (Outcome.DIVERGED, "loss: nan", Cause.CODE),
        (Outcome.CRASH, "sh: 1: ./run: Exec format error", Cause.PLATFORM),
        (Outcome.CRASH, "", Cause.CODE),
    ],
)
def test_how_it_ended_decides_where_nothing_is_said(
    outcome: Outcome, log: str, cause: Cause
) -> None:
    assert find_failure(outcome, "the reason", log).cause is cause


def test_an_error_that_another_was_raised_from_is_the_cause() -> None:
    log = (
        HEAD + "FileNotFoundError: [Errno 2] No such file or directory: 'd/tok.json'\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        + HEAD.partition("\n")[2].partition("\n")[2]
        + "RuntimeError: cannot start\n"
    )
    found = find_failure(Outcome.CRASH, "exit status 1", log)
    assert (found.cause, found.subject) == (Cause.DATA, "d/tok.json")


def test_advice_names_what_there_is(tmp_path: Path) -> None:
    task = load_task(FAKE, REPO)
    (tmp_path / "helper.py").touch()
    missing = Failure(Cause.IMPORT, "ModuleNotFoundError", "helper")
    own = Circumstances(replace(task, clone=tmp_path), python="/e/bin/python")
    assert "name it under `fixed`" in advice_on(missing, own)
    other = replace(missing, subject="einops.layers")
    assert "uv pip install --python /e/bin/python einops." in advice_on(other, own)
    ours = replace(own, python=sys.executable, task=replace(task, environment=None))
    assert "Ratchet's own environment" in (said := advice_on(other, ours))
    assert "allow_packages" in said
    unread = Failure(Cause.DATA, "URLError: no", "data/a.bin")
    assert advice_on(unread, ours).startswith("data/a.bin is missing. Runs ")
    assert "network: true" in advice_on(unread, ours)
    assert "network" not in advice_on(unread, replace(ours, task=replace(task, network=True)))
    presets = [Preset("big", min_memory_gb=80.0), Preset("small", min_memory_gb=8.0)]
    sized = Circumstances(replace(task, presets=presets), preset="big")
    assert advice_on(Failure(Cause.MEMORY, ""), sized).endswith("preset=small")
    assert advice_on(Failure(Cause.PLATFORM, ""), sized).endswith("preset=small")
