"""What can be read of a training script in its folder, and in what it printed."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import SHARED
from helpers.standins import FILES, notebook
from ratchet.base.errors import InputMissingError
from ratchet.task.discover import (
    Command,
    Folder,
    find_commands,
    find_mutable,
    home_caches,
    imported_packages,
    memory_unit,
    needed_files,
    notebook_command,
    printed_numbers,
    printed_steps,
    seed_ways,
    stated_goal,
    without_defaults,
)
from ratchet.task.task import search_patterns

MAKE = "train: train.c\n\tcc -o train train.c\nrun: train\n\t./train\n"
NAMES = ("train.py", "run.sh", "prepare.py", "pkg/__init__.py", "pkg/fit.py", "eval.py")


def commands(texts: dict[str, str], *names: str) -> list[Command]:
    return find_commands(texts, {*texts, *names})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("$ python3 train.py --lr 1e-3  # five minutes", "python train.py --lr 1e-3"),
        ("(venv) $ .venv/bin/python train.py > run.log 2>&1", "python train.py"),
        ("uv run --frozen train.py | tee log", "python train.py"),
        ("poetry run python -m pkg.fit", "python -m pkg.fit"),
        ("cd x && CUDA_VISIBLE_DEVICES=0 nohup ./run.sh &", "./run.sh"),
        ("python train.py \\\n    --epochs 3", "python train.py --epochs 3"),
        ("torchrun --nproc_per_node=1 train.py", "torchrun --nproc_per_node=1 train.py"),
    ],
)
def test_commands_of_documents_are_read_as_a_shell_reads_them(line: str, words: str) -> None:
    found = commands({"README.md": f"# x\n\n```bash\npip install x\n{line}\n```\n"}, *NAMES)
    (shown,) = (each for each in found if each.source.startswith("README.md:"))
    assert " ".join(shown.words) == words


@pytest.mark.parametrize(
    "line",
    [
        "├── train.py   the script",
        "train.py — model and loop",
        "git add train.py",
        "python <script>.py",
        "python train.py --data path/to/data",
        "cat train.py",
        "python missing.py",
        "python 'train.py",
    ],
)
def test_what_only_names_a_script_is_no_command(line: str) -> None:
    assert not commands({"README.md": f"```\n{line}\n```\n"}, "train.py")[0].source.startswith("R")


def test_what_trains_comes_first_and_documents_before_names() -> None:
    text = "Run `python prepare.py`, then `python train.py -v`, later `python eval.py`.\n"
    found = commands({"program.md": text}, *NAMES)
    assert [" ".join(each.words) for each in found][:2] == ["python train.py -v", "python train.py"]
    assert commands({}, "fit_line.py", "notes.txt")[0].words == ("python", "fit_line.py")
    assert commands({}, "x.py")[0].words == ("python", "x.py")
    assert commands({}, "x.py", "y.py") == []


def test_variables_before_a_command_are_kept_but_for_those_that_runs_are_given() -> None:
    line = "OMP_NUM_THREADS=8 DATA='a b' python train.py"
    found = commands({"README.md": f"    {line}\n"}, "train.py")[0]
    assert (found.words, found.variables) == (("python", "train.py"), {"DATA": "a b"})


def test_a_target_that_runs_a_script_comes_before_the_script() -> None:
    recipe = {"Makefile": "train: data.txt\n\t$(PY) fit.py --n 5\ndata.txt:\n\techo 3 > data.txt\n"}
    assert commands(recipe, "fit.py")[0].words == ("make", "train")


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (
            {"Makefile": MAKE, "README.md": "```\nmake train\n./train 3\n```"},
            "make train && ./train 3",
        ),
        ({"Makefile": MAKE}, "make run"),
        ({"Makefile": "fit: fit.o\n"}, "make && ./fit"),
    ],
)
def test_a_program_is_built_in_each_run(texts: dict[str, str], words: str) -> None:
    assert words in " ".join(commands(texts, "train.c", "fit.c")[0].words)


@pytest.mark.parametrize(
    "text",
    [
        '[tool.poe.tasks]\ntrain = "python -m pkg.fit"',
        '[tool.pdm.scripts]\ntrain = {cmd = "python -m pkg.fit"}',
    ],
)
def test_tasks_of_a_project_are_commands(text: str) -> None:
    assert commands({"pyproject.toml": text}, *NAMES[3:])[0].words == ("python", "-m", "pkg.fit")


def test_a_function_that_a_project_installs_runs_in_the_run_s_own_files() -> None:
    text = '[project.scripts]\ntrain = "pkg.fit:main"\n'
    found = commands({"pyproject.toml": text}, *NAMES[3:])[0]
    assert found.words == ("python", "-c", "from pkg.fit import main; raise SystemExit(main())")
    assert find_mutable(found, ["pkg/fit.py"], {})[0] == ["pkg/fit.py"]
    assert commands({"pyproject.toml": "[project"}) == []


def test_files_that_a_script_needs_are_those_that_are_named() -> None:
    texts = {
        "train.py": "from pkg import fit\nimport yaml\nyaml.load(open('conf/a.yaml'))\nd = 'data'",
        "pkg/fit.py": "from . import net\nfrom .deep.layer import L\nopen('table.csv')\n",
        "conf/a.yaml": "words: words.txt\n",
        "pkg/net.py": "import ctypes  # see README.md\n",
        "README.md": "other.py",
    }
    names = {*texts, "pkg/__init__.py", "pkg/deep/layer.py", "data/x.bin", "data/y/z.bin"}
    names |= {"assets/words.txt", "in/table.csv", "other.py", "LICENSE"}
    assert needed_files(["train.py"], texts, names) == [
        *("train.py", "conf/a.yaml", "data/x.bin", "data/y/z.bin", "pkg/__init__.py"),
        *("pkg/fit.py", "assets/words.txt", "in/table.csv", "pkg/net.py", "pkg/deep/layer.py"),
    ]


def test_packages_that_are_imported_are_asked_for() -> None:
    texts = {
        "a.py": "import os, numpy as np\nfrom torch import nn\nimport b\n"
        "try:\n    import wandb\nexcept ImportError:\n    pass\nfrom . import c\n"
    }
    assert imported_packages(["a.py", "b.py"], texts) == ["numpy", "torch"]


@pytest.mark.parametrize(
    ("words", "needed", "expected"),
    [
        (("python", "run.py", "--config", "a.yaml"), ["run.py", "a.yaml"], ["run.py", "a.yaml"]),
        (("python", "run.py", "--config=a.yaml"), ["run.py", "a.yaml"], ["run.py", "a.yaml"]),
        (("make", "run"), ["Makefile", "io.cpp", "src/train.cpp"], ["src/train.cpp"]),
        (("sh", "go.sh"), ["go.sh", "big.py", "b.py"], ["big.py"]),
        (("python", "run.py"), ["run.py", "c/a.yaml", "no.yaml"], ["run.py", "c/a.yaml"]),
        (("python", "b.py"), ["b.py", "c/a.yaml"], ["b.py"]),
        (("make", "run"), ["Makefile"], []),
    ],
)
def test_what_may_be_changed(words, needed, expected) -> None:
    texts = {"big.py": "x = 1\n" * 9, "b.py": "x = 1\n", "c/a.yaml": "lr: 0.1\n"}
    assert find_mutable(Command(words, "", 0.0), needed, texts)[0] == expected


def test_options_that_are_defaults_are_left_out_of_a_command() -> None:
    text = "p.add_argument('--lr', default=0.1)\np.add_argument('--n', type=int, default=3)\n"
    words = ["python", "t.py", "--lr", "0.1", "--n=3", "--n", "4", "--other", "0.1", "--lr"]
    assert without_defaults(words, "t.py", text) == [*words[:2], *words[5:]]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("seed = int(os.environ['RATCHET_SEED'])", "environment"),
        ("p.add_argument('--seed', default=3)", {"argument": "--seed={seed}"}),
        ("seed = os.environ.get('MY_SEED', 1)", {"variable": "MY_SEED"}),
        ("SEED: int = 1\nVAL_SEED = 3\n", {"constant": "SEED"}),
        ("torch.manual_seed(0); p.add_argument('--val-seed')", "hook"),
    ],
)
def test_ways_of_a_seed_by_what_the_code_says(text: str, first: object) -> None:
    found = seed_ways(["a.py"], ["a.py"], {"a.py": text})
    assert found[0][0] == first
    assert found[-1][0] == "hook"
    assert seed_ways(["a.yaml"], [], {"a.yaml": "seed: 3"}) == []
    texts = {"a.yaml": "run: {seed: 3, val_seed: 4}\n", "b.cpp": "const int kSeed = 1;\n"}
    found = [way for way, _ in seed_ways(texts, texts, texts)]
    assert found == [{"constant": "run.seed"}, {"constant": "kSeed"}]


def test_caches_are_those_that_the_files_name() -> None:
    texts = {"a.py": "os.path.join(home, '.cache', 'mine')\n# ~/.cache/other. And more\n"}
    assert home_caches(["a.py"], texts) == ["~/.cache/mine", "~/.cache/other"]


def test_links_out_of_a_folder_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("key")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.py").touch()
    (tmp_path / "own" / "b.py").symlink_to("a.py")
    (tmp_path / "own" / "c.txt").symlink_to("../secret.txt")
    assert Folder.read(tmp_path / "own").names == {"a.py", "b.py"}


def test_a_folder_is_read_without_what_runs_and_editors_leave(tmp_path: Path) -> None:
    for name in ("a.py", ".git/x", "venv/y.py", "results/z", "task.yaml", "d/e.bin", "run.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\xff" if name.endswith("bin") else b"x")
    found = Folder.read(tmp_path)
    assert (found.names, set(found.texts)) == ({"a.py", "d/e.bin"}, {"a.py"})
    with pytest.raises(InputMissingError, match="found no files"):
        Folder.read(tmp_path / ".git" / "none")


LOG = """epoch 1/3 | train_loss 0.9 | val_loss 0.8
\x1b[32mepoch 2/3 | train_loss 0.7 | val_loss 0.75\x1b[0m
Validation accuracy = 93.1% (best 94)
{"step": 30, "eval/reward": -1.5e-3}
peak memory: 1.5 GB
R2 is 0.93
    accuracy                           0.8436       100
12:00:01 INFO fid 7.5
"""


@pytest.mark.parametrize(
    ("label", "name", "values"),
    [
        ("val_loss", "val_loss", (0.8, 0.75)),
        ("Validation accuracy", "validation_accuracy", (93.1,)),
        ("eval/reward", "eval/reward", (-1.5e-3,)),
        ("R2", "R2", (0.93,)),
        ("accuracy", "accuracy", (0.8436,)),
        ("fid", "fid", (7.5,)),
        ("epoch", "epoch", (1, 2)),
    ],
)
def test_numbers_are_found_under_their_labels_and_by_their_patterns(label, name, values) -> None:
    (found,) = (each for each in printed_numbers(LOG) if each.label == label)
    assert (found.name, found.values) == (name, values)
    assert search_patterns(LOG, {"x": found.pattern(LOG)}) == {"x": values[-1]}


def test_a_label_within_another_has_a_pattern_of_its_own() -> None:
    log = "loss: 2\nval/loss: 3\n"
    first, second = printed_numbers(log)
    assert search_patterns(log, {"a": first.pattern(log), "b": second.pattern(log)}) == {
        "a": 2,
        "b": 3,
    }


def test_memory_and_steps_of_a_run() -> None:
    found = {each.label: each for each in printed_numbers(LOG + "peak_vram_mb: 3\nmemory: 4\n")}
    units = [memory_unit(found[label]) for label in ("peak memory", "peak_vram_mb", "memory")]
    assert units == [1024.0, 1.0, None]
    assert printed_steps(found.values()) == (30, True, "step")
    assert printed_steps([]) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The goal is the lowest val_loss. More is in the paper.", (True, -1)),
        ("Maximize `val_loss`.", (True, 1)),
        ("val_loss: lower or higher", (True, 0)),
        ("We print val_loss.", (False, 0)),
        ("Lower val_loss_total.", (False, 0)),
    ],
)
def test_documents_say_which_way_is_better(text: str, expected: tuple[bool, int]) -> None:
    assert stated_goal(printed_numbers("val_loss: 1")[0], [text]) == expected


def test_a_notebook_runs_by_its_code_cells(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    (tmp_path / "a.ipynb").write_text(
        notebook("%matplotlib inline\nx = 2\n\n!ls\n", "print(x + 1)")
    )
    program, flag, code = notebook_command(str(tmp_path / "a.ipynb"))
    assert (program, flag) == ("python", "-c")
    exec(code, {})
    assert capsys.readouterr().out == "3\n"
    assert json.loads(notebook("x"))["nbformat"] == 4


@pytest.mark.parametrize("kind", FILES)
def test_each_stand_in_has_a_command(kind: str) -> None:
    found = find_commands(FILES[kind], set(FILES[kind]))[0]
    assert found.score > 1
    assert not found.words[-1].startswith("prepare")


TEXT = st.text(st.characters(codec="utf-8"), max_size=300)
LINES = st.lists(
    st.sampled_from(["```", "$ ", "python train.py", "&& ", "make", "'", "\\", "a: 1"])
)


@given(text=TEXT | LINES.map("\n".join))
def test_any_text_is_read(text: str) -> None:
    texts = {"README.md": text, "train.py": text, "Makefile": text, "pyproject.toml": text}
    find_commands(texts, set(texts))
    needed = needed_files(["train.py"], texts, set(texts))
    imported_packages(needed, texts)
    seed_ways(needed, needed, texts)
    for number in printed_numbers(text):
        pattern = number.pattern(text)
        found = search_patterns(text, {"x": pattern})["x"] if pattern else math.nan
        assert found == number.values[-1] or not pattern or math.isnan(found)
        stated_goal(number, [text])


@pytest.mark.skipif(not (SHARED / "corpus").is_dir(), reason="no logs of others here")
def test_the_summary_of_a_real_log_is_found() -> None:
    logs = {
        p.name: p.read_text(errors="replace") for p in (SHARED / "corpus/runlogs").glob("*.log")
    }
    for text in logs.values():
        found = {each.name: each for each in printed_numbers(text)}
        if "\nval_bpb:" in text:
            assert found["val_bpb"].pattern(text)
            assert memory_unit(found["peak_vram_mb"]) == 1.0
