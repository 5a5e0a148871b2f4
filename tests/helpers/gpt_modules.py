"""tasks/gpt for tests: the modules that need NumPy alone, its definition, its sources."""

from __future__ import annotations

import functools
import re
from types import ModuleType
from typing import Any

import yaml

from helpers import REPO, import_modules

TASK = REPO / "tasks" / "gpt"
NAMES = ("channel", "scoring", "packing", "canary", "evaluator", "corpus", "shards", "prepare")
SPEC: dict[str, Any] = yaml.safe_load((TASK / "task.yaml").read_text())
TRAIN = (TASK / "train.py").read_text()
# Values that make a step of the tiny model slow.
SLOW = {("WIDTH", 640), ("WIDTH", 384), ("DEVICE_BATCH", 128), ("SEQ_LEN", 1024)}


@functools.cache
def load() -> dict[str, ModuleType]:
    return import_modules(TASK, NAMES)


def constant(source: str, name: str, value: object) -> str:
    """``train.py`` with another value of a constant."""
    line = re.compile(rf"^{name} = .*?(?=  #|$)", re.M)
    assert len(line.findall(source)) == 1, name
    return line.sub(f"{name} = {value!r}", source)


def configured(preset: str) -> str:
    """``train.py`` with the constants of a preset."""
    source = TRAIN
    for name, value in SPEC["presets"][preset].get("constants", {}).items():
        source = constant(source, name, value)
    return source


def edits(source: str, slow: bool = False) -> dict[str, str]:
    """The sources after each alternative and after the first value of each constant.

    Values that make a step slow are left out if that is not asked for.
    """
    found = {}
    for entry in SPEC["search_space"]:
        if "constant" in entry:
            name = entry["constant"]
            for value in [v for v in entry["values"] if slow or (name, v) not in SLOW][:1]:
                found[f"{name} {value}"] = constant(source, name, value)
        else:
            assert source.count(entry["find"]) == 1, entry["alternative"]
            found[entry["alternative"]] = source.replace(entry["find"], entry["replace"])
    return found
