"""Presets: which one is chosen, and what it makes of a task's files."""

import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers import FAKE, REPO, load_task
from helpers.run_plans import plan, store
from ratchet.base.errors import ConfigError, InputMissingError
from ratchet.base.io import Fingerprint, digest_bytes
from ratchet.base.structs import replace
from ratchet.records.records import Origin, Preset
from ratchet.runs.run import Workspace
from ratchet.runs.sandbox.sandbox import SandboxKind
from ratchet.steps.prepare import Preparation
from ratchet.task.presets import (
    carried_constants,
    check_constants,
    choose_preset,
    edited_files,
    preset_sources,
)
from ratchet.task.task import DeclaredChange, Task

SIZES = (Preset("small", "", 1.0, {"A": 1}), Preset("large", "", 24.0), Preset("same", "", 24.0))
DEVICES = (Preset("gpu", "", 6.0), Preset("laptop", "", 8.0, device="cpu"))


@pytest.mark.parametrize(
    ("wanted", "known", "memory", "name"),
    [
        (None, SIZES, None, None),
        (None, (), None, None),
        ("auto", SIZES, 1.0, "small"),
        ("auto", SIZES, 23.9, "small"),
        ("auto", SIZES, 24.0, "large"),
        ("auto", SIZES, math.inf, "large"),
        ("auto", DEVICES, 64.0, "gpu"),
        ("laptop", DEVICES, None, "laptop"),
    ],
)
def test_the_preset_that_fits(wanted, known, memory, name) -> None:
    chosen = choose_preset(wanted, known, memory, "t")
    assert (chosen.name if chosen else None) == name


@pytest.mark.parametrize(
    ("wanted", "known", "memory", "words"),
    [
        ("tiny", SIZES, None, "expected null, auto or one of t (small, large, same), found 'tiny'"),
        ("tiny", (), None, "expected null, since t has no presets, found 'tiny'"),
        ("auto", (), 8.0, "expected null, since t has no presets, found 'auto'"),
        ("auto", SIZES, 0.5, "none of t for a device of 0.5 GB; the smallest needs 1 GB"),
        ("auto", SIZES, None, "needs the memory of the device, which is not known here"),
        ("auto", DEVICES, 4.0, "the smallest needs 6 GB"),
    ],
)
def test_what_cannot_be_chosen_is_refused(wanted, known, memory, words) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_preset(wanted, known, memory, "t")
    assert words in str(caught.value)


@pytest.fixture
def fake(tmp_path: Path) -> Task:
    return load_task(Path(shutil.copytree(FAKE, tmp_path / "fake")), REPO)


def test_constants_and_device_are_set_and_nothing_else(fake: Task) -> None:
    large = replace(fake, device="gpu")
    assert large.sized(None) == large.sized(DEVICES[0]) == large
    assert large.sized(DEVICES[1]) == replace(large, device="cpu")
    source = (fake.folder / "train.py").read_text()
    found = preset_sources(fake, {"WIDTH": 4, "BEHAVIOUR": "it's"}, "p")["train.py"].decode()
    expected = source.replace("WIDTH = 1\n", "WIDTH = 4\n")
    assert found == expected.replace('BEHAVIOUR = "train"', 'BEHAVIOUR = "it\'s"')
    assert preset_sources(fake, {}, "p")["train.py"].decode() == source


def test_constants_that_cannot_be_set_are_named(fake: Task) -> None:
    for constant in ("MISSING", "noise", "numbers", "SEED"):
        with pytest.raises(ConfigError) as caught:
            preset_sources(fake, {constant: 1}, "tiny")
        assert f"presets.tiny.constants: expected {constant} to be set once" in str(caught.value)
        found = f"found `{constant} = " if constant.islower() else "found none of this name; known"
        assert f"(train.py), {found}" in str(caught.value)
    for name in ("more.py", "notes.txt"):
        (fake.folder / name).write_text("WIDTH = 3\n")
    both = replace(fake, mutable=("train.py", "more.py", "notes.txt"))
    with pytest.raises(ConfigError, match=r"found it in train.py, more.py"):
        preset_sources(both, {"WIDTH": 1}, "p")
    (fake.folder / "train.py").unlink()
    with pytest.raises(InputMissingError, match="cannot be read"):
        preset_sources(fake, {}, "p")


def test_an_edited_file_is_told_from_a_preset(fake: Task) -> None:
    preset = Preset("p", constants={"WIDTH": 4})
    started = preset_sources(fake, preset.constants, "p")
    entries = tuple(Fingerprint(n, digest_bytes(c), len(c)) for n, c in started.items())
    manifest: Any = SimpleNamespace(baseline=entries, preset=preset)
    assert edited_files(manifest, fake.folder) == []
    path = fake.folder / "train.py"
    path.write_text(path.read_text().replace("RATE = 0.1", "RATE = 0.2"))
    assert edited_files(manifest, fake.folder) == ["train.py"]
    path.unlink()
    assert edited_files(manifest, fake.folder) == ["train.py"]


def test_variables_reach_run_evaluator_and_preparation(fake: Task, tmp_path: Path) -> None:
    variables = {"RATCHET_EVAL_BATCHES": "8", "RATCHET_SEED": "1"}
    spec = plan(tmp_path, "", seed=7, variables=variables)
    place = tmp_path / "work"
    space = Workspace(spec, store(tmp_path), SandboxKind.NONE, place, place)
    found = space.environment()
    assert (found["RATCHET_EVAL_BATCHES"], found["RATCHET_SEED"]) == ("8", "7")
    assert space.evaluator_environment()["RATCHET_EVAL_BATCHES"] == "8"
    plain, made = (Preparation(fake, some).inputs for some in ({}, {"RATCHET_A": "1"}))
    assert "variables" not in plain
    assert made == {**plain, "variables": {"RATCHET_A": "1"}}


def test_the_presets_of_the_default_task() -> None:
    bytelm = load_task(REPO / "tasks" / "bytelm", REPO)
    assert [preset.name for preset in bytelm.presets] == ["cpu-tiny", "default"]
    for preset in bytelm.presets:
        assert preset_sources(bytelm, preset.constants, preset.name)
    assert choose_preset("auto", bytelm.presets, 8.0, "") == bytelm.presets[1]


def test_a_champion_keeps_what_its_own_edits_set_and_takes_the_rest_of_a_preset() -> None:
    before = {"train.py": "A = 1\nB = 2\nC = 3\nD = 4\n", "x.yaml": "lr: 0.1\n"}
    after = {"train.py": "A = 1\nB = 5\nE = 3\nD = 9\n", "x.yaml": "lr: 0.1\nsteps: 3\n"}
    wanted = {"A": 7, "B": 8, "C": 9, "D": 9, "lr": 0.3}
    found, kept = carried_constants(after, before, wanted)
    # B was changed, C removed, and D is what the preset wants of it.
    assert kept == ("B", "C")
    assert found == {
        "train.py": "A = 7\nB = 5\nE = 3\nD = 9\n",
        "x.yaml": "lr: 0.3\nsteps: 3\n",
    }
    assert carried_constants(before, before, {}) == (before, ())


def test_constants_that_the_code_lacks_are_named_with_the_nearest(fake: Task) -> None:
    check_constants(fake)
    wrong = DeclaredChange("WITDH", "architecture", values=(2,), why="x")
    searched = replace(fake, search_space=[*fake.search_space, wrong])
    with pytest.raises(ConfigError, match=r"search_space: WITDH: .*; did you mean WIDTH\?"):
        check_constants(searched)
    sized = replace(fake, presets=[Preset("a"), Preset("b", constants={"of_mine": 1})])
    known = r"presets\.b\.constants: of_mine: .*py, found none of this name; known are BEHAVIOUR"
    with pytest.raises(ConfigError, match=known):
        check_constants(sized)
    # All are named at once, and why one that is there cannot be set.
    with pytest.raises(ConfigError) as all_faults:
        check_constants(replace(searched, presets=sized.presets))
    assert str(all_faults.value).count("expected a constant that is set once") == 2
    path = fake.folder / "train.py"
    path.write_text(path.read_text().replace("WIDTH = 1", "WIDTH = 2 * len(numbers)"))
    with pytest.raises(ConfigError, match=r"found `WIDTH = 2 \* len\(numbers\)` in train\.py"):
        check_constants(fake)
    # A definition of a repository may be of forks that lack some.
    check_constants(replace(searched, origin=Origin("clone", "1" * 40, "2" * 40)))


def test_a_preset_sets_constants_that_are_expressions(fake: Task) -> None:
    path = fake.folder / "train.py"
    path.write_text(path.read_text().replace("RATE = 0.1", "RATE = 1e-3 * 0.5"))
    found = preset_sources(fake, {"WIDTH": "2**3", "RATE": "1e-2 * 2"}, "p")["train.py"].decode()
    assert "WIDTH = 8\n" in found and "RATE = 0.02\n" in found
