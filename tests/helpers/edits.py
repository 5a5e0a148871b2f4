"""Edits that tests let a session try, and what became of them."""

from pathlib import Path

import yaml

from helpers.boxes import Box
from ratchet.base.io import digest_bytes, source_digest
from ratchet.records.records import Role, run_seed

NOISE = "noise = random.Random(SEED).gauss(0, 0.01)\n"


def declare(box: Box, *entries: dict[str, object]) -> None:
    """Give the task another search space."""
    path = box.path / "tasks" / "fake" / "task.yaml"
    task = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**task, "search_space": list(entries)}, sort_keys=False))


def constant(name: str, *values: object) -> dict[str, object]:
    return {"constant": name, "category": "hyperparams", "values": list(values), "why": "faster"}


def alternative(name: str, category: str, find: str, replace: str) -> dict[str, object]:
    why = "it may be better"
    texts = {"find": find, "replace": replace}
    return {"alternative": name, "category": category, **texts, "why": why}


def change(box: Box, old: str, new: str) -> None:
    path = box.path / "tasks" / "fake" / "train.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def plant_seeds(box: Box, source: str, role: Role, line: str, *replicates: int) -> None:
    """Write a line into the fixed file, formatted with the seeds of a source's runs.

    They follow from the source alone.
    """
    digest = source_digest({"train.py": digest_bytes(source.encode())})
    seeds = [run_seed(1, digest, role, number) for number in replicates]
    fixed = box.path / "tasks" / "fake" / "prepare.py"
    fixed.write_text(f"{fixed.read_text()}\n{line.format(*seeds)}\n")


def ruling(box: Box, name: str) -> dict:
    """The ruling on the last experiment whose description starts so."""
    rounds = sorted((box.session / "rounds").glob("0*"))
    proposals = [
        p for r in rounds[1:] for p in box.json(f"rounds/{r.name}/proposals.json")["proposals"]
    ]
    number = [p["number"] for p in proposals if p["description"].startswith(name)][-1]
    return next(r for r in box.rulings() if r["number"] == number)


def is_kept(found: dict) -> bool:
    return found["verdict"] in ("KEEP", "STRONG_KEEP")


def fail_until_mended(box: Box, how: str) -> Path:
    """Let the code fail by some lines until a file is there; returns that file."""
    mended = box.path / "mended"
    path = box.path / "tasks" / "fake" / "train.py"
    body = "".join(f"    {line}\n" for line in how.splitlines())
    first = f"import os, pathlib\n\npathlib.Path({str(box.path / 'made')!r}).open('a').write('x')\n"
    path.write_text(f"{first}if not os.path.exists({str(mended)!r}):\n{body}{path.read_text()}")
    return mended
