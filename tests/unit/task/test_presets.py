"""Presets: parsing, choosing, and what they make of a task's files."""

from __future__ import annotations

import ast
import math
import shutil
from pathlib import Path

import pytest
import yaml

from helpers import REPO
from helpers.run_plans import plan, store
from ratchet.base.errors import ConfigError, InputMissingError
from ratchet.base.io import Fingerprint, digest_bytes
from ratchet.base.structs import replace
from ratchet.records.records import Preset
from ratchet.runs import hardware
from ratchet.runs.hardware import driver_versions, memory_gb, ram_gb, visible_gpus
from ratchet.runs.run import Workspace
from ratchet.runs.sandbox.sandbox import SandboxKind
from ratchet.steps.prepare import preparation_inputs
from ratchet.task.presets import choose_preset, edited_files, preset_sources
from ratchet.task.task import Task, load_task, parse_presets, parse_task

FAKE = REPO / "tests" / "data" / "tasks" / "fake"
SIZES = (Preset("small", "", 1.0, {"A": 1}), Preset("large", "", 24.0), Preset("same", "", 24.0))


# ----------------------------------------------------------------- choosing


def test_none_is_chosen_where_none_is_wanted() -> None:
    assert choose_preset(None, SIZES, None, "task.yaml") is None
    assert choose_preset(None, (), None, "task.yaml") is None


@pytest.mark.parametrize(
    ("memory", "name"), [(1.0, "small"), (23.9, "small"), (24.0, "large"), (math.inf, "large")]
)
def test_auto_takes_the_largest_that_fits(memory: float, name: str) -> None:
    found = choose_preset("auto", SIZES, memory, "task.yaml")
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    ("wanted", "known", "memory", "words"),
    [
        ("tiny", SIZES, None, "expected null, auto or one of t (small, large, same), found 'tiny'"),
        ("tiny", (), None, "expected null, since t has no presets, found 'tiny'"),
        ("auto", (), 8.0, "expected null, since t has no presets, found 'auto'"),
        ("auto", SIZES, 0.5, "none of t for a device of 0.5 GB; the smallest needs 1 GB"),
        ("auto", SIZES, None, "needs the memory of the device, which is not known here"),
    ],
)
def test_what_cannot_be_chosen_is_refused(
    wanted: str, known: tuple[Preset, ...], memory: float | None, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_preset(wanted, known, memory, "t")
    assert words in str(caught.value)


# ------------------------------------------------------------------ parsing


def test_a_preset_is_read_with_its_parts() -> None:
    values = {"a": {"description": "d", "min_memory_gb": 6, "environment": {"RATCHET_X1": "2"}}}
    assert parse_presets(values, "t") == (Preset("a", "d", 6, {}, {"RATCHET_X1": "2"}),)


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "RATCHET_",
        "RATCHET_x",
        "RATCHET_SEED",
        "RATCHET_DATA",
        "RATCHET_BUDGET_STEPS",
        "RATCHET_EVALUATOR_FD",
        "RATCHET_EVALUATION",
        "RATCHET_CONFIG",
        "RATCHET_A=B",
        "RATCHET_A\n",
    ],
)
def test_variables_of_others_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"presets\.a\.environment: expected names such as"):
        parse_presets({"a": {"environment": {name: "1"}}}, "t")


def test_auto_is_no_name() -> None:
    with pytest.raises(ConfigError, match=r"presets\.auto: the name is taken"):
        parse_presets({"auto": {}}, "t")


@pytest.mark.parametrize(
    "given",
    [
        {"a": {"constants": {"not a name": 1}}},
        {"a": {"memory": 1}},
        {"a b": {}},
        {"a": {"min_memory_gb": -1}},
        {"a": {"environment": {"RATCHET_A": 1}}},
        {},
    ],
)
def test_the_schema_knows_presets(given: dict) -> None:
    values = yaml.safe_load((FAKE / "task.yaml").read_text())
    text = yaml.safe_dump({**values, "presets": given}).encode()
    with pytest.raises(ConfigError, match="presets"):
        parse_task(text, FAKE, REPO, "task.yaml")


# ----------------------------------------------------------------- applying


@pytest.fixture
def fake(tmp_path: Path) -> Task:
    folder = tmp_path / "fake"
    shutil.copytree(FAKE, folder)
    return load_task(folder, REPO)


def test_constants_are_set_and_nothing_else(fake: Task) -> None:
    source = (fake.folder / "train.py").read_text()
    found = preset_sources(fake, {"WIDTH": 4, "BEHAVIOUR": "it's"}, "p")["train.py"].decode()
    expected = source.replace("WIDTH = 1\n", "WIDTH = 4\n")
    assert found == expected.replace('BEHAVIOUR = "train"', 'BEHAVIOUR = "it\'s"')
    assert preset_sources(fake, {}, "p")["train.py"].decode() == source


@pytest.mark.parametrize("constant", ["MISSING", "noise", "numbers", "SEED"])
def test_a_constant_that_is_not_there_is_named(fake: Task, constant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        preset_sources(fake, {constant: 1}, "tiny")
    assert f"presets.tiny.constants: expected {constant} to be set once" in str(caught.value)
    assert "(train.py), found it in none of them" in str(caught.value)


def test_a_constant_in_two_files_is_ambiguous(fake: Task) -> None:
    (fake.folder / "more.py").write_text("WIDTH = 3\n")
    both = replace(fake, mutable=("train.py", "more.py", "notes.txt"))
    (fake.folder / "notes.txt").write_text("WIDTH = 3\n")
    with pytest.raises(ConfigError, match=r"found it in train.py, more.py"):
        preset_sources(both, {"WIDTH": 1}, "p")


def test_an_edited_file_is_told_from_a_preset(fake: Task) -> None:
    preset = Preset("p", constants={"WIDTH": 4})
    started = preset_sources(fake, preset.constants, "p")
    entries = tuple(Fingerprint(n, digest_bytes(c), len(c)) for n, c in started.items())

    class Frozen:
        baseline = entries
        preset = Preset("p", constants={"WIDTH": 4})

    assert edited_files(Frozen, fake.folder) == []  # type: ignore[arg-type]
    path = fake.folder / "train.py"
    path.write_text(path.read_text().replace("RATE = 0.1", "RATE = 0.2"))
    assert edited_files(Frozen, fake.folder) == ["train.py"]  # type: ignore[arg-type]
    path.unlink()
    assert edited_files(Frozen, fake.folder) == ["train.py"]  # type: ignore[arg-type]


# ------------------------------------------------------ where they are used


def test_variables_reach_run_and_evaluator_and_override_nothing(tmp_path: Path) -> None:
    variables = {"RATCHET_EVAL_BATCHES": "8", "RATCHET_SEED": "1"}
    spec = plan(tmp_path, "", seed=7, variables=variables)
    space = Workspace(
        spec, store(tmp_path), SandboxKind.NONE, tmp_path / "work", tmp_path / "evaluator"
    )
    found = space.environment()
    assert (found["RATCHET_EVAL_BATCHES"], found["RATCHET_SEED"]) == ("8", "7")
    assert space.evaluator_environment()["RATCHET_EVAL_BATCHES"] == "8"


def test_the_prepared_data_depend_on_the_variables(fake: Task) -> None:
    plain = preparation_inputs(fake, {})
    assert "variables" not in plain
    assert preparation_inputs(fake, {"RATCHET_A": "1"}) == {
        **plain,
        "variables": {"RATCHET_A": "1"},
    }


def test_the_presets_of_the_default_task() -> None:
    bytelm = load_task(REPO / "tasks" / "bytelm", REPO)
    names = [preset.name for preset in bytelm.presets]
    assert names == ["cpu-tiny", "default"]
    for preset in bytelm.presets:
        made = preset_sources(bytelm, preset.constants, preset.name)["train.py"]
        held = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in ast.parse(made).body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
        }
        assert {name: held[name] for name in preset.constants} == preset.constants
    large = choose_preset("auto", bytelm.presets, 8.0, "")
    assert large is not None
    assert large.name == "default"


# ------------------------------------------------------------------ devices


def test_a_container_limits_the_memory(tmp_path: Path) -> None:
    limit, none, missing = (tmp_path / name for name in ("limit", "none", "missing"))
    limit.write_text("2000000000\n")
    none.write_text("max\n")
    assert ram_gb((limit,)) == 2.0
    whole = ram_gb((none, missing))
    assert whole == ram_gb(()) is not None
    assert memory_gb("cpu") == ram_gb()


class Nvml:
    """Two GPUs, one of which does not tell its memory."""

    class NVMLError(Exception):
        pass

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return f"GPU-{handle}"

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return b"Big"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> object:
        if handle:
            raise self.NVMLError("no")

        class Memory:
            total, used = 24 * 10**9, 10**9

        return Memory

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[object]:
        class Process:
            pid = 12

        return [Process]

    def nvmlSystemGetDriverVersion(self) -> bytes:
        return b"550.1"

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return 12040


def test_the_gpus_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = visible_gpus(Nvml(), None)
    assert (first.name, first.total_bytes, first.used_bytes) == ("Big", 24 * 10**9, 10**9)
    assert first.processes == second.processes == (12,)
    assert (second.uuid, second.total_bytes) == ("GPU-1", None)
    assert [g.uuid for g in visible_gpus(Nvml(), "1")] == ["GPU-1"]
    assert visible_gpus(None, None) == []
    assert driver_versions(Nvml()) == ("550.1", "12.4")
    assert driver_versions(None) == (None, None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(hardware, "nvml_library", Nvml)
    assert memory_gb("gpu") == 24.0
    monkeypatch.setattr(hardware, "nvml_library", lambda: None)
    assert memory_gb("gpu") is None


def test_files_are_read_where_the_task_lies(fake: Task) -> None:
    (fake.folder / "train.py").unlink()
    with pytest.raises(Exception, match="cannot be read") as caught:
        preset_sources(fake, {}, "p")
    assert isinstance(caught.value, InputMissingError)


def test_a_preset_may_have_a_budget_of_its_own() -> None:
    some = parse_presets({"a": {"budget": {"seconds": 3}}, "b": {}}, "task.yaml")
    assert [preset.budget for preset in some] == [{"seconds": 3}, {}]
    with pytest.raises(ConfigError, match=r"presets\.a\.budget: give either seconds or steps"):
        parse_presets({"a": {"budget": {"seconds": 3, "steps": 4}}}, "task.yaml")


def test_a_preset_may_be_for_another_device(fake: Task) -> None:
    sizes = (Preset("gpu", "", 6.0), Preset("laptop", "", 8.0, device="cpu"))
    assert choose_preset("auto", sizes, 64.0, "t") == sizes[0]
    assert choose_preset("laptop", sizes, None, "t") == sizes[1]
    with pytest.raises(ConfigError, match="the smallest needs 6 GB"):
        choose_preset("auto", sizes, 4.0, "t")
    large = replace(fake, device="gpu")
    assert large.sized(None) == large.sized(sizes[0]) == large
    assert large.sized(sizes[1]) == replace(large, device="cpu")
