"""Ranges of constants: declared or derived, points in them and in the code."""

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import FAKE, GPT, load_task
from ratchet.base.structs import replace
from ratchet.proposers.space import (
    Space,
    derived_constants,
    derived_range,
    nearest_value,
    space_entries,
    task_space,
    without_values,
)
from ratchet.task.task import DeclaredChange, Range, Seeding, _space_faults, build_task

TRAIN = {"train.py": (GPT / "train.py").read_text()}
RANGES = [
    Range(0.00012345, 0.03, log=True),
    Range(0.996, 0.9998),
    Range(0, 3),
    Range(-2.0, 0.5),
    Range(1, 9, whole=True, log=True),
    Range(0.5, 8.5, whole=True),
    Range(16, 512, whole=True, power_of=2),
    Range(0.125, 4.0, power_of=2),
    Range(60, 700, whole=True, multiple_of=64),
    Range(0, 40, whole=True, multiple_of=8),
    Range(choices=(False, True)),
    Range(choices=("SSSL", "L")),
    Range(choices=([0.8, 0.95], [0.9, 0.95])),
]
NUMBERS = st.floats(-1e6, 1e6) | st.integers(-10_000, 10_000)
each_range = pytest.mark.parametrize("limits", RANGES, ids=str)


def space_of(**ranges: Range) -> Space:
    return Space([DeclaredChange(name, "hyperparams", range=each) for name, each in ranges.items()])


@each_range
@settings(max_examples=20)
@given(value=NUMBERS)
def test_a_fitted_value_is_in_its_range_and_stays_as_it_is(limits: Range, value: Any) -> None:
    found = nearest_value(limits, value, {})
    assert nearest_value(limits, found, {}) == found
    if limits.choices:
        assert found in limits.choices
        return
    assert limits.low <= found <= limits.high
    if limits.whole:
        assert isinstance(found, int)
    if isinstance(limits.multiple_of, int):
        assert found % limits.multiple_of == 0
    if limits.power_of is not None:
        assert found in [2.0**n for n in range(-3, 10)]


def test_values_keep_as_many_digits_as_the_range_has_room_for() -> None:
    assert nearest_value(Range(1e-4, 0.1, log=True), 0.0123456, {}) == 0.0123
    assert nearest_value(Range(0.996, 0.9998), 0.9971234, {}) == 0.99712
    assert nearest_value(Range(0.0, 30.0), 12.3456, {}) == 12.3
    # A file has tuples where YAML has lists.
    assert nearest_value(RANGES[-1], (0.9, 0.95), {}) == [0.9, 0.95]
    assert nearest_value(RANGES[-1], (0.1, 0.2), {}) == [0.8, 0.95]


@settings(max_examples=30)
@given(st.integers(1, 3000), st.integers(1, 300))
def test_a_constant_is_a_multiple_of_another_one(width: int, head: int) -> None:
    space = space_of(
        WIDTH=Range(64, 768, whole=True, multiple_of="HEAD"),
        HEAD=Range(32, 128, whole=True, power_of=2),
    )
    found = space.fitted({"WIDTH": width, "HEAD": head})
    assert found["HEAD"] in (32, 64, 128)
    assert found["WIDTH"] % found["HEAD"] == 0
    assert 64 <= found["WIDTH"] <= 768
    assert space.fitted(found) == found


@settings(max_examples=30)
@given(st.data())
def test_a_point_that_was_written_is_read_again(data: st.DataObject) -> None:
    files = {
        "train.py": "RATE = 2e-3  # of Adam\nSIZE = 2**6\nPAIR = (0.8, 0.95)\nprint(RATE, SIZE)\n",
        "config.yaml": "model: {width: 64}  # numbers\nfast: true\n",
    }
    space = space_of(
        **{"RATE": RANGES[0], "SIZE": RANGES[6], "PAIR": RANGES[-1]},
        **{"model.width": RANGES[8], "fast": RANGES[10]},
    )
    start = space.point(files)
    assert start == {
        **{"RATE": 0.002, "SIZE": 64, "PAIR": (0.8, 0.95), "model.width": 64, "fast": True},
    }
    assert space.moved(files, start) == files
    point = space.fitted(
        {
            **{name: data.draw(NUMBERS) for name in ("RATE", "SIZE", "model.width")},
            "PAIR": data.draw(st.sampled_from(RANGES[-1].choices)),
            "fast": data.draw(st.booleans()),
        }
    )
    moved = space.moved(files, point)
    assert space.point(moved) == point
    assert without_values(space.names, moved) == without_values(space.names, files)


def test_a_constant_that_a_file_lacks_or_has_twice_is_not_of_the_point() -> None:
    space = space_of(RATE=RANGES[0], SIZE=RANGES[6], MODE=RANGES[6])
    once = "RATE = 0.01\nSIZE = 32\nSIZE = 64\nMODE = 'fast'\n"
    assert space.point({"a.py": once}) == {"RATE": 0.01}
    assert space.point({"a.py": once, "b.py": once}) == {}


def test_the_derived_space_of_a_gpt_is_what_a_reader_would_tune() -> None:
    found = {each.name: each.range for each in derived_constants(TRAIN)}
    assert set(found) == {
        *("DEPTH", "ASPECT_RATIO", "HEAD_DIM", "MATRIX_LR", "EMBEDDING_LR", "UNEMBEDDING_LR"),
        *("SCALAR_LR", "WEIGHT_DECAY", "WARMUP_RATIO", "WARMDOWN_RATIO", "FINAL_LR_FRAC"),
        *("TOTAL_BATCH_SIZE", "DEVICE_BATCH_SIZE"),
    }
    assert found["ASPECT_RATIO"] == Range(16, 256, whole=True, power_of=2)
    assert found["MATRIX_LR"] == Range(0.004, 0.4, log=True)


UPSTREAM = """
ASPECT_RATIO = 64
TOTAL_BATCH_SIZE = 2**19 # tokens per step
EMBEDDING_LR = 0.6
ADAM_BETAS = (0.8, 0.95)
WARMUP_RATIO = 0.0
DEPTH = 8
USE_BIAS = False
H100_BF16_PEAK_FLOPS = 989.5e12
TIME_BUDGET = 300
MAX_STEPS = num_iterations = 5000
EVAL_TOKENS = 1024
valBatch = 4
SEED = 42
LOG_INTERVAL = 10
step = 0
smooth = 0.5
while step < 3:
    step += 1
    smooth = 0.9 * smooth
"""


def test_budget_chance_evaluation_and_output_are_left_alone() -> None:
    found = {each.name: each.range for each in derived_constants({"train.py": UPSTREAM})}
    names = "ASPECT_RATIO TOTAL_BATCH_SIZE EMBEDDING_LR WARMUP_RATIO DEPTH USE_BIAS"
    assert " ".join(found) == names
    assert found["TOTAL_BATCH_SIZE"] == Range(2**17, 2**21, whole=True, power_of=2)
    assert found["USE_BIAS"] == Range(choices=(False, True))
    settings_file = '{"train": {"maxSteps": 9, "learningRate": 0.1}, "seed": 3, "layers": [1]}'
    assert [c.name for c in derived_constants({"c.json": settings_file})] == ["train.learningRate"]
    assert derived_constants({"a.py": "def (", "b.txt": "A = 1"}) == []


def test_options_fields_and_constants_of_other_languages_are_derived_too() -> None:
    option = "p.add_argument('--lr', default=0.1)\np.add_argument('--epochs', default=3)\n"
    field = "@dataclass\nclass Net:\n    width: int = 8\n"
    texts = {"a.py": option + field, "b.py": field.replace("width", "depth")}
    texts |= {"c.cpp": "const double kRate = 0.1;\n", "d.yaml": "trainer: {max_steps: 3}\n"}
    # Fields count where a file has nothing else.
    assert [c.name for c in derived_constants(texts)] == ["--lr", "Net.depth", "kRate"]


@pytest.mark.parametrize("value", [-1, -0.5, 0, "text", (1, 2), None, float("inf"), float("nan")])
def test_what_is_no_size_has_no_range(value: object) -> None:
    assert derived_range("WIDTH", value) is None


@settings(max_examples=60)
@given(
    st.sampled_from(["RATE", "DROPOUT", "BETA2", "WIDTH"]),
    st.floats(0, 1e9) | st.integers(1, 2**40) | st.booleans(),
)
def test_a_derived_range_can_be_declared_and_holds_the_value(name: str, value: Any) -> None:
    limits = derived_range(name, value)
    assert limits is not None
    space = space_of(**{name: limits})
    (entry,) = space_entries(space)
    assert not list(_space_faults({"search_space": [entry]}))
    if not limits.choices:
        assert limits.low <= value <= limits.high or value < 1e-300


@each_range
def test_entries_read_back_are_the_same_space(limits: Range) -> None:
    space = space_of(WIDTH=limits)
    text = yaml.safe_dump(space_entries(space))
    values = {**load_task(FAKE).values, "search_space": yaml.safe_load(text)}
    read = task_space(build_task(values, FAKE, FAKE), {})
    assert [each.range for each in read.constants] == [limits]


def test_what_a_task_declares_comes_before_what_its_code_tells() -> None:
    task = load_task(FAKE)
    code = {"train.py": (FAKE / "train.py").read_text()}
    assert task_space(task, code).names == ["RATE", "WIDTH", "DECAY", "shape"]
    seeded = replace(task, seeding=Seeding(constant="DECAY"))
    assert task_space(seeded, code).names == ["RATE", "WIDTH", "shape"]
    ranged = replace(task, search_space=[*task.search_space, *space_of(DECAY=RANGES[0]).constants])
    assert task_space(ranged, code).names == ["DECAY"]


@pytest.mark.parametrize("name", ["gpt", "textclf", "bytelm"])
def test_each_bundled_task_starts_within_its_ranges(name: str) -> None:
    task = load_task(GPT.parent / name)
    start = {file: (task.folder / file).read_text() for file in task.mutable}
    space = task_space(task, start)
    point = space.point(start)
    assert list(point) == space.names
    assert space.fitted(point) == point
    presets = [{}, *(dict(preset.constants) for preset in task.presets)]
    for constants in presets:
        own = {**point, **{k: v for k, v in constants.items() if k in point}}
        assert space.fitted(own) == own


def test_every_corner_of_the_gpt_is_a_model_that_fits_its_card() -> None:
    task = load_task(GPT)
    space = task_space(task, TRAIN)
    ends = {each.name: (each.range.low, each.range.high) for each in space.constants}
    # A width that the heads do not divide is made larger by train.py.
    depth, width, head = (ends[name][1] for name in ("DEPTH", "ASPECT_RATIO", "HEAD_DIM"))
    width = -(-depth * width // head) * head
    (preset,) = (each for each in task.presets if each.name == "gpu-80gb")
    # README.md has the formula.
    words, tokens = 8192 * width, 2048 * preset.constants["DEVICE_BATCH_SIZE"]
    needed = 1e9 + 360 * depth * width**2 + (18 + 8 * (1 + depth // 2)) * words
    needed += tokens * (40 * depth * width + 12 * 8192)
    assert needed < 80e9


def test_constants_that_are_expressions_are_found_and_moved() -> None:
    contents = {"a.py": "BATCH = 2**19\nCONTEXT = 64 * 1024  # tokens\nRATE = 1e-3 * 0.5\n"}
    space = Space(derived_constants(contents))
    point = space.point(contents)
    assert point == {"BATCH": 2**19, "CONTEXT": 2**16, "RATE": 0.0005}
    moved = space.moved(contents, space.fitted({**point, "BATCH": 2**18 + 9, "RATE": 0.0007}))
    assert moved == {"a.py": "BATCH = 262144\nCONTEXT = 64 * 1024  # tokens\nRATE = 0.0007\n"}
