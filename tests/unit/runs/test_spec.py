"""The specification of a run: what its key depends on."""

from typing import Any

import pytest

from ratchet.base.io import digest
from ratchet.base.structs import replace
from ratchet.records.store import RUN_FORMAT
from ratchet.runs.spec import BESIDE, RunSpec
from ratchet.task.task import Seeding

SPEC = RunSpec(
    command=["python", "train.py"],
    sources={"train.py": "a" * 64, "model.py": "b" * 64},
    fixed={"prepare.py": "c" * 64},
    data={"train.bin": "d" * 64},
    seed=7,
    budget_seconds=300,
    budget_steps=None,
    timeout_seconds=600.0,
    threads=1,
    metric="val_bpb",
)
OTHER: dict[str, Any] = {
    "command": ["python", "train.py", "--fast"],
    "sources": {"train.py": "a" * 64, "model.py": "e" * 64},
    "fixed": {},
    "data": {"other.bin": "d" * 64},
    "seed": 8,
    "budget_seconds": 301,
    "budget_steps": 20,
    "timeout_seconds": 601.0,
    "threads": 2,
    "metric": "val_loss",
    "attempt": 1,
    "occasion": "confirmation of tonight",
    "guard": True,
    "renewal": 1,
    "device": "gpu",
    "evaluator": ["python", "evaluator.py"],
    "evaluation_data": {"val.bin": "f" * 64},
    "audit_data": {"audit.bin": "f" * 64},
    "network": True,
    "variables": {"NAME": "value"},
    "limits": {"memory_mb": 900},
    "patterns": {"val_bpb": "bpb is (.*)"},
    "names": ["peak_mem_mb"],
    "counted": ["peak_mem_mb"],
    "seeding": Seeding(argument="--seed={seed}"),
    "caches": {"~/.cache/data": "a" * 64},
    "environment_sha256": "a" * 64,
    "packages_sha256": "a" * 64,
    "allowed_sha256": "a" * 64,
    "hardware": {"cpu": "another"},
}


def test_every_field_is_in_the_key_or_beside_it() -> None:
    assert {
        *("isolation", "hidden", "packages", "python", "mounts", "lease"),
        *("evaluation_seconds", "draws", "curve", "compiled", "blank"),
    } == BESIDE
    assert set(RunSpec.__struct_fields__) == BESIDE | set(OTHER)


@pytest.mark.parametrize("name", OTHER)
def test_a_field_of_the_key_changes_it(name: str) -> None:
    assert replace(SPEC, **{name: OTHER[name]}).key != SPEC.key


def test_the_key_is_the_digest_of_the_inputs_and_their_format() -> None:
    there = replace(SPEC, isolation="bubblewrap", hidden=["datasets"])
    assert there != SPEC
    turned = replace(
        there, sources=dict(reversed(SPEC.sources.items())), command=("python", "train.py")
    )
    assert turned.key == SPEC.key
    assert SPEC.key == digest({"format": RUN_FORMAT, **SPEC.inputs})
    # Whoever changes this makes every run of every store anew.
    assert SPEC.key == "29cd4df161b322d030ec62ce2cea8511ce4b98a8494c43f6a23021f089acec86"
