"""Task files: parsed once, mistakes named with file and key; bounds, patterns, presets."""

import math
import re
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from helpers import FAKE, REPO, load_task
from helpers.run_plans import launch
from ratchet.base.errors import ConfigError, InputMissingError
from ratchet.records.records import Direction, Outcome, Preset
from ratchet.task.task import (
    LONGEST_PATTERN,
    Cache,
    Constraint,
    Range,
    Seeding,
    broken_constraint,
    curve_fault,
    parse_presets,
    pattern_fault,
    pattern_literal,
    search_patterns,
)

METRIC = "metric: {name: val_loss, direction: minimize, unit: nats}"
PREPARE = 'prepare: [python, prepare.py, "{out}"]'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FAKE, tmp_path / "fake"))


def edit(folder: Path, old: str, new: str) -> None:
    """Replace a line of the definition; an ``old`` of nothing adds one at its end."""
    path = folder / "task.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new) if old else f"{text}\n{new}\n")


def test_a_good_task(folder: Path) -> None:
    task = load_task(FAKE, REPO)
    assert task.metric.direction is Direction.MINIMIZE
    assert (task.budget_seconds, task.budget_steps) == (0.05, None)
    assert task.environment == REPO / "envs" / "bytelm.lock"
    assert (task.locked_data, task.limits) == (("audit.txt",), {})
    constants = [change for change in task.search_space if change.is_constant]
    assert constants[0].values == (0.2, 0.4, 0.8, 1.6)
    assert (task.memory_mb({"peak_mem_mb": 3.0}), task.memory_mb({})) == (3.0, None)
    assert task.printed == ("peak_mem_mb",)
    edit(folder, "name: fake", "name: fake\nlimits: {memory_mb: 500, processes: 9}")
    assert load_task(folder, REPO).limits == {"memory_mb": 500, "processes": 9}


def test_every_bundled_task_is_valid() -> None:
    tasks = {p.parent.name: load_task(p.parent, REPO) for p in (REPO / "tasks").glob("*/task.yaml")}
    assert tasks
    assert all(task.name == name for name, task in tasks.items())
    assert tasks["bytelm"].printed == ("peak_mem_mb", "total_tokens_M")
    assert tasks["bytelm"].plausible is not None
    assert 0 < tasks["bytelm"].plausible.min_tokens < 0.2


def test_what_is_declared_is_read(folder: Path) -> None:
    edit(folder, METRIC, "metric: {name: val_loss, pattern: 'loss (.+)', direction: maximize}")
    for line in (
        "target: 0.5",
        "printed: {size: 'Parameters: (\\d+)'}",
        "constraints: [{name: size, max: 60}, {name: wall_seconds, max: 310}]",
        "variables: {HF_HUB_OFFLINE: '1'}",
        "cache: [~/.cache/x, {folder: data, optional: true}]",
        "seed: {argument: '--seed={seed}'}",
    ):
        edit(folder, "", line)
    task = load_task(folder, REPO)
    assert task.patterns == {"val_loss": "loss (.+)", "size": r"Parameters: (\d+)"}
    assert task.target == 0.5
    assert task.constraints == (Constraint("size", max=60), Constraint("wall_seconds", max=310))
    assert task.variables == {"HF_HUB_OFFLINE": "1"}
    assert task.caches == (Cache("~/.cache/x"), Cache("data", optional=True))
    assert task.seeding == Seeding(argument="--seed={seed}")
    # Names and words that a candidate has no business to print.
    assert task.printed == ("peak_mem_mb", "size", "Parameters:", "loss")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("timeout_seconds: 30", "timeout: 30", "unknown key 'timeout'; did you mean"),
        (METRIC, "", "the key 'metric' is missing"),
        ("seconds: 0.05", "seconds: -1", "budget.seconds: expected more than 0, found -1"),
        ("seconds: 0.05", "seconds: 1, steps: 2", "either seconds or steps"),
        ("direction: minimize", "direction: down", "one of minimize, maximize, found 'down'"),
        ("mutable: [train.py]", "mutable: [/etc/passwd]", "a relative path without .."),
        ("mutable: [train.py]", "mutable: [a/../../b]", "a relative path without .."),
        ("fixed: [prepare.py]", "fixed: [train.py]", "the file train.py has two parts"),
        ("", "guard: [pytest, -q, train.py]", "guard: expected a command with one of the fixed"),
        ("", "guard: pytest", "guard: expected a list"),
        ("", "guard_seconds: 5", "guard_seconds: works only with a `guard`, which is missing"),
        ("", "guard: [x, prepare.py]\nguard_seconds: 0", "guard_seconds: expected more than 0"),
        (
            "",
            "compile_cache: {blank: [audit.txt]}",
            "visible data files (numbers.txt), found audit",
        ),
        ("", "compile_cache: {blank: []}", "compile_cache.blank: expected"),
        ("", "compile_cache: {blank: [numbers.txt]}\ncache: [x]", "only without a `cache`"),
        ("category: other", "category: Other!", "a lower-case word, found 'Other!'"),
        ("name: fake", "name: [", "is not valid YAML"),
        ("", "allow_packages: ['git+https://a.b/c']", "expected a package with or without"),
        ("", "limits: {memory_mb: 0}", "limits.memory_mb: expected"),
        ("", "limits: {disk_mb: 9}", "unknown key 'disk_mb'"),
        (PREPARE, "", "the command that makes the data files"),
        ("", "printed: {val_loss: 'x(.)'}", "printed.val_loss: is the metric"),
        ("", "printed: {size: 'x'}", "printed.size: expected exactly one group"),
        ("", "printed: {size: '(?=a)(b)'}", "printed.size: expected a regular expression of RE2"),
        ("", "constraints: [{name: size}]", "constraints.0: give min, max or both"),
        ("", "constraints: [{name: a, min: 2, max: 1}]", "constraints.0: min is more than max"),
        ("", "constraints: [{name: val_loss, max: 1}]", "constraints.0: val_loss is the metric"),
        ("", "constraints: [{name: a, most: 1}]", "unknown key 'most'"),
        ("", "variables: {HOME: x}", "variables: HOME is set otherwise"),
        ("", "variables: {RATCHET_SEED: x}", "variables: RATCHET_SEED is set otherwise"),
        ("", "seed: {variable: OMP_NUM_THREADS}", "OMP_NUM_THREADS is set otherwise"),
        ("", "seed: {variable: A}\nvariables: {A: x}", "variables: A is set otherwise"),
        ("", "seed: both", "seed: expected one of environment, hook, found 'both'"),
        ("", "seed: {argument: --seed}", "expected a word with {seed} in it"),
        ("", "seed: {number: 3}", "unknown key 'number'"),
        ("", "seed: {variable: A, constant: B}", "seed: expected"),
        ("", "cache: [a/../b]", "a folder, without .."),
        ("fixed: [prepare.py]", "fixed: [lib/a.py]\ncache: [lib]", "cache: lib holds the file lib"),
        ("", "commit: main", "works only with a `repo`"),
        ("", "target: high", "target: expected a number"),
        ("", "presets: {a: {constants: {not a name: 1}}}", "presets"),
        ("", "presets: {a: {memory: 1}}", "unknown key 'memory'"),
        ("", "presets: {a b: {}}", "presets"),
        ("", "presets: {a: {min_memory_gb: -1}}", "presets.a.min_memory_gb: expected"),
        ("", "presets: {a: {environment: {RATCHET_A: 1}}}", "presets.a.environment.RATCHET_A"),
        ("", "presets: {}", "presets"),
    ],
)
def test_mistakes_are_named(folder: Path, old: str, new: str, words: str) -> None:
    edit(folder, old, new)
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        load_task(folder, REPO)
    assert "task.yaml" in str(caught.value)


RATE = "values: [0.2, 0.4, 0.8, 1.6]\n    why: a rate of {new} instead of {old}"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("why: x", "RATE: the key 'values' is missing (or a range, or choices)"),
        ("values: [1]", "RATE: the key 'why' is missing"),
        ("values: [1]\n    range: [1, 2]", "RATE: the key 'why' is missing"),
        ("range: [1, 2]\n    find: x", "RATE: 'find' does not belong to a constant"),
        ("range: [1, 2]\n    choices: [1, 2]", "RATE: give a range or choices, and not both"),
        ("choices: [1, 2]\n    log: true", "RATE: 'log' belongs to a range, which is missing"),
        ("choices: [1]", "choices"),
        ("range: [1]", "range"),
        ("range: [a, b]", "range.0: expected a number, found 'a'"),
        ("range: [2, 1]", "RATE: range: expected two numbers, the smaller one first"),
        ("range: [1, .inf]", "RATE: range: expected two numbers"),
        ("range: [1, .nan]", "RATE: range: expected two numbers"),
        ("range: [0, 1]\n    log: true", "RATE: range: expected to begin above 0, found 0"),
        ("range: [0, 4]\n    power_of: 2", "RATE: range: expected to begin above 0, found 0"),
        ("range: [1, 4]\n    power_of: 1", "power_of: expected at least 2, found 1"),
        ("range: [5, 7]\n    power_of: 2", "expected a power of 2 between 5 and 7, found none"),
        ("range: [5, 7]\n    multiple_of: 4", "expected a multiple of 4 between 5 and 7"),
        ("range: [0.2, 0.8]\n    int: true", "expected a whole number between 0.2 and 0.8"),
        ("range: [1, 9]\n    power_of: 2\n    multiple_of: 2", "power_of or multiple_of"),
        ("range: [1, 9]\n    multiple_of: RATE", "multiple_of: expected a whole number, or"),
        ("range: [1, 9]\n    multiple_of: WIDTH", "a range (none), found WIDTH"),
        ("range: [1, 9]\n    most: 3", "unknown key 'most'"),
    ],
)
def test_mistakes_in_ranges_are_named(folder: Path, keys: str, words: str) -> None:
    edit(folder, RATE, keys)
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_task(folder, REPO)


def test_ranges_that_contradict_each_other_are_named(folder: Path) -> None:
    def faults(old: str, new: str, rate: str = "range: [1, 9]") -> str:
        own = shutil.copytree(folder, folder.with_name("own"))
        edit(own, RATE, rate)
        edit(own, old, new)
        with pytest.raises(ConfigError) as caught:
            load_task(own, REPO)
        shutil.rmtree(own)
        return str(caught.value)

    width = "values: [2, 3, 4]\n    why: more width"
    chained = ("range: [1, 4]\n    multiple_of: RATE", "range: [1, 9]\n    multiple_of: WIDTH")
    said = faults(width, *chained)
    assert "expected a constant that is no multiple of another, found WIDTH" in said
    twice = "  - {constant: RATE, category: other, choices: [1, 2]}\n"
    assert "RATE: has two ranges" in faults("search_space:\n", f"search_space:\n{twice}")
    seeded = "  - {constant: SEED, category: other, range: [1, 2]}\n"
    edit(folder, "", "seed: {constant: SEED}")
    assert "SEED: is the seed" in faults("search_space:\n", f"search_space:\n{seeded}")


def test_a_range_is_read(folder: Path) -> None:
    edit(folder, RATE, "values: [0.2]\n    why: x\n    range: [0.1, 2]\n    log: true")
    edit(folder, "values: [2, 3, 4]\n    why: more width", "range: [1, 64]\n    power_of: 2")
    edit(folder, "values: [0.1, 0.3]\n    why: less fitting", "choices: [0.0, 0.1]")
    found = {change.name: change for change in load_task(folder, REPO).search_space}
    assert found["RATE"].values == (0.2,)
    assert found["RATE"].range == Range(0.1, 2, log=True)
    assert found["WIDTH"].range == Range(1, 64, whole=True, power_of=2)
    assert found["DECAY"].range == Range(choices=(0.0, 0.1))
    assert found["WIDTH"].values == ()


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "program.md").unlink()
    with pytest.raises(InputMissingError, match=r"names the file program\.md"):
        load_task(folder, REPO)
    with pytest.raises(InputMissingError, match=r"holds no task\.yaml"):
        load_task(tmp_path / "none", REPO)
    shutil.copy(FAKE / "program.md", folder)
    with pytest.raises(InputMissingError, match=r"the lock .* does not exist"):
        load_task(folder, tmp_path)


def test_a_preparation_makes_something(folder: Path) -> None:
    values = yaml.safe_load((folder / "task.yaml").read_text())
    del values["data"]
    (folder / "task.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match="prepare: makes neither files of `data` nor a `cache`"):
        load_task(folder, REPO)
    edit(folder, "", "cache: [~/.cache/x]")
    assert load_task(folder, REPO).fills_caches


SEED = "import os, sys\nSEED = 1337  # a number of its own\nprint('val:', {})\n"


@pytest.mark.parametrize(
    ("way", "value"),
    [
        ({"variable": "MY_SEED"}, "int(os.environ['MY_SEED'])"),
        ({"argument": "--seed={seed}"}, "int(sys.argv[1].removeprefix('--seed='))"),
        ({"constant": "SEED"}, "SEED"),
        ({"constant": "seed"}, "open('config.yaml').read().split()[1]"),
    ],
)
def test_a_run_learns_its_seed(tmp_path: Path, way: dict[str, str], value: str) -> None:
    source = SEED.format(value)
    sources = {"train.py": source.encode(), "config.yaml": b"seed: 1  # ours\n"}
    record, _ = launch(tmp_path, "", sources=sources, seed=77, seeding=Seeding.of(way))
    assert (record.outcome, record.metrics["val"]) == (Outcome.OK, 77)
    # What is kept of the candidate is its own code.
    assert (tmp_path / "run" / "source" / "train.py").read_text() == source


SIZE = Constraint("num_params_M", max=60)
TIME = Constraint("training_seconds", min=270, max=310)


@pytest.mark.parametrize(
    ("constraint", "value", "words"),
    [
        *((SIZE, value, None) for value in (0.0, 59.9, 60.0)),
        *((TIME, value, None) for value in (270.0, 310.0)),
        (SIZE, 60.5, "num_params_M is 60.5, expected num_params_M at most 60"),
        (TIME, 200, "is 200, expected training_seconds at least 270 and at most 310"),
        (TIME, 311, "is 311"),
        (SIZE, None, "num_params_M is not known"),
        (SIZE, math.nan, "num_params_M is not known"),
        (SIZE, math.inf, "num_params_M is inf"),
    ],
)
def test_a_value_against_bounds(constraint, value, words) -> None:
    fault = constraint.fault(value)
    assert fault is None if words is None else words in (fault or "")


def test_one_run_is_enough_to_break_a_bound() -> None:
    fine = {"num_params_M": 50.0, "training_seconds": 300.0}
    assert broken_constraint([SIZE, TIME], [fine, fine]) == broken_constraint([], [{}]) == ""
    large = {**fine, "num_params_M": 61.0}
    assert "num_params_M is 61" in broken_constraint([TIME, SIZE], [fine, large])
    assert "training_seconds is not known" in broken_constraint([TIME], [{"num_params_M": 1.0}])


ACCURACY = "Validation accuracy: ([0-9.]+)"


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (ACCURACY, None),
        (r"(?i)acc(?:uracy)?[:=]\s*([\d.]+)%?", None),
        (r"^FINAL: mAP50=([\d.]+), mAP50-95=[\d.]+$", None),
        (r"epoch \d{1,4}/\d+ .* loss[:=]\s*(\S+)", None),
        (r"^val_pass:\s+(true|false)$", None),
        ("accuracy", "expected exactly one group"),
        ("(a)(b)", "found 2"),
        ("acc: (", "expected a regular expression"),
        ("acc: ([0-9.]+)" + "x" * LONGEST_PATTERN, "characters"),
        (r"(a+)\1", "expected a regular expression of RE2"),
        ("(?=(a+)+b)", "expected a regular expression of RE2"),
        (r"\pN: (\d+)", "expected a regular expression"),
    ],
)
def test_patterns_that_can_be_used_and_others(pattern: str, words: str | None) -> None:
    fault = pattern_fault(pattern)
    assert fault is None if words is None else words in (fault or "")


def test_the_last_match_counts_whatever_surrounds_it() -> None:
    log = (
        "Validation accuracy: 0.5\n"
        "\x1b[32mstep 1\rValidation accuracy: 0.6 Validation accuracy: 0.7\r\n"
        "Validation accuracy: ......\n"
        "val_pass:   true\nloss 12,345.5\nshare 82.5%\nnot a number: nan\n"
        "ünï\0code \x1b[31maction=0.5\x1b[0m\ud800 action=0.25ü\n"
    )
    patterns = {
        "acc": ACCURACY,
        "pass": r"^val_pass:\s+(true|false)$",
        "loss": r"loss (\S+)",
        "share": r"share (\S+)",
        "odd": r"number: (\w+)",
        "none": r"never (\d)",
        "code": r"action=([\d.]+)",
        "no number": r"(0\.25ü)",
    }
    found = search_patterns(log, patterns)
    assert math.isnan(found.pop("odd"))
    assert found == {"acc": 0.7, "pass": 1.0, "loss": 12345.5, "share": 82.5, "code": 0.25}
    assert search_patterns(log, {}) == {}


@given(st.floats(0, 1), st.lists(st.text(max_size=30), max_size=5))
def test_any_number_is_found_among_any_text(value: float, noise: list[str]) -> None:
    lines = [line.replace("Validation", "") for line in noise]
    log = "\n".join([*lines, f"Validation accuracy: {value:.6f}", *lines])
    assert search_patterns(log, {"acc": ACCURACY}) == {"acc": float(f"{value:.6f}")}


def test_words_that_every_match_holds() -> None:
    assert pattern_literal(ACCURACY) == "Validation accuracy:"
    assert pattern_literal(r"(\d+) parameters of \d+") == "parameters of"
    assert pattern_literal(r"a: (\d+)") == ""


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"(?P<step>\d+) (?P<loss>\S+)", None),
        (r"(?:a|b)(?P<loss>.)(?P<step>.)(?P<tokens>.)(?P<seconds>.)", None),
        (r"(?P<step>\d+)", "expected the groups (?P<step>...) and (?P<loss>...)"),
        (r"(?P<step>\d+) (?P<loss>\S+) (x)", "write others as (?:...)"),
        (r"(?P<step>\d+) (?P<loss>\S+) (?P<rate>x)", "(?P<tokens>...) if lines tell them"),
        ("(", "expected a regular expression of RE2"),
        ("a" * 501, "at most 500 characters"),
    ],
)
def test_patterns_for_lines_of_progress(pattern: str, words: str | None) -> None:
    fault = curve_fault(pattern)
    assert fault is None if words is None else words in str(fault)


def test_the_pattern_for_lines_of_progress_is_checked(folder: Path) -> None:
    edit(folder, METRIC, METRIC + "\ncurve: 'E (?P<loss>.*) at (?P<step>.*)'")
    assert load_task(folder, REPO).curve == "E (?P<loss>.*) at (?P<step>.*)"
    edit(folder, "curve: 'E (?P<loss>.*)", "curve: 'E (.*)")
    with pytest.raises(ConfigError, match="curve: expected the groups"):
        load_task(folder, REPO)


def test_a_metric_is_found_by_its_pattern_alone(tmp_path: Path) -> None:
    source = "print('val: 0.1'); print('Validation accuracy: 82%'); print('---'); print('n: 3')"
    patterns = {"val": r"accuracy: (\S+)", "none": r"never (\d)"}
    record, _ = launch(tmp_path, source, patterns=patterns)
    assert (record.outcome, record.metrics) == (Outcome.OK, {"val": 82.0, "n": 3.0})
    record, _ = launch(tmp_path, "print('val: 0.1')", "other", patterns=patterns)
    assert record.outcome is Outcome.NO_METRIC


def test_a_preset_is_read_with_its_parts() -> None:
    values = {"a": {"description": "d", "min_memory_gb": 6, "environment": {"RATCHET_X1": "2"}}}
    assert parse_presets(values, "t") == (Preset("a", "d", 6, {}, {"RATCHET_X1": "2"}),)
    some = parse_presets({"a": {"budget": {"seconds": 3}}, "b": {}}, "task.yaml")
    assert [preset.budget for preset in some] == [{"seconds": 3}, {}]
    with pytest.raises(ConfigError, match=r"presets\.a\.budget: give either seconds or steps"):
        parse_presets({"a": {"budget": {"seconds": 3, "steps": 4}}}, "task.yaml")
    with pytest.raises(ConfigError, match=r"presets\.auto: the name is taken"):
        parse_presets({"auto": {}}, "t")


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "RATCHET_", "RATCHET_x", "RATCHET_A=B", "RATCHET_A\n", "RATCHET_SEED"),
        *("RATCHET_DATA", "RATCHET_CONFIG", "RATCHET_BUDGET_STEPS"),
        *("RATCHET_EVALUATOR_FD", "RATCHET_EVALUATION"),
    ],
)
def test_variables_of_others_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"presets\.a\.environment: expected names such as"):
        parse_presets({"a": {"environment": {name: "1"}}}, "t")
