"""tasks/gpt: model, optimizer, preparation and whole runs, with PyTorch on a CPU.

The harness has no PyTorch.  ``RATCHET_GPT_PYTHON`` names an interpreter that has the
packages of envs/gpt.in (PyTorch's CPU build will do); one process of it makes all checks.
"""

import json
import os
import re
import subprocess

import pytest

from helpers import GPT, HELPERS, load_task
from ratchet.task.edits import applicable_changes
from ratchet.task.presets import preset_sources

PYTHON = os.environ.get("RATCHET_GPT_PYTHON")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON, reason="RATCHET_GPT_PYTHON names no interpreter with the packages of gpt.in"
    ),
]
CHECKS = HELPERS / "gpt_checks.py"
# Values that make a step of the tiny model slow.
SLOW = {"TOTAL_BATCH_SIZE=262144"}


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is wrong, by the name of the check."""
    folder = tmp_path_factory.mktemp("gpt")
    assert PYTHON is not None
    done = subprocess.run([PYTHON, "-c", "import torch"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"{PYTHON} has no PyTorch")
    task = load_task(GPT)
    (preset,) = (preset for preset in task.presets if preset.name == "cpu-tiny")
    source = preset_sources(task, preset.constants, preset.name)["train.py"].decode()
    (folder / "train.py").write_text(source)
    edits: dict[str, str] = {}
    for draft in applicable_changes(task.search_space, {"train.py": source}):
        if draft.edit.label not in SLOW:
            edits.setdefault(draft.edit.name, draft.contents["train.py"])
    (folder / "given.json").write_text(json.dumps({"data": task.data_names, "edits": edits}))
    variables = {k: v for k, v in os.environ.items() if not k.startswith("RATCHET_")}
    done = subprocess.run(
        [PYTHON, str(CHECKS), "given.json"],
        cwd=folder,
        env={
            **variables,
            **{k: v for k, v in preset.environment.items() if k.startswith("RATCHET_EVAL")},
            "PYTHONPATH": f"{folder}:{GPT}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("check", re.findall(r"(?m)^def (check_\w+)", CHECKS.read_text()))
def test_with_pytorch(wrong: dict[str, str], check: str) -> None:
    assert not wrong[check], wrong[check]
