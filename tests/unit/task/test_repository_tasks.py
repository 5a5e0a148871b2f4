"""The task that a configuration names: a folder, or somebody's repository."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from helpers import REPO
from helpers.repositories import TRACKED, git, make_cache, make_clone
from ratchet.base.errors import ConfigError, InputMissingError, RatchetError
from ratchet.records.paths import StorePaths
from ratchet.steps.plan import make_plan
from ratchet.task.environment import task_interpreter
from ratchet.task.repository import find_task, task_clone, task_folder

DEFINITIONS = sorted((REPO / "tasks" / "autoresearch").glob("*.yaml"))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clone(tmp_path_factory.mktemp("home") / "clone")


@pytest.fixture
def store(tmp_path: Path) -> StorePaths:
    return StorePaths(tmp_path / "store")


def test_a_folder_is_as_before(store: StorePaths) -> None:
    found = find_task("tasks/bytelm", Path("/nowhere"), REPO, store)
    assert (found.origin, found.clone) == (None, None)
    assert found.definition == REPO / "tasks" / "bytelm" / "task.yaml"
    assert not store.root.exists()


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda p: p.stem)
def test_every_definition_fits_the_files_of_a_clone(
    clone: Path, store: StorePaths, path: Path
) -> None:
    wanted = {"repo": str(clone), "definition": path.stem}
    found = find_task(wanted, Path("/nowhere"), REPO, store)
    assert found.definition == path
    assert found.folder == store.tree(git(clone, "rev-parse", "HEAD^{tree}").strip())
    assert found.environment == found.folder / "uv.lock"
    assert found.python == clone / ".venv"
    assert found.budget_fixed
    assert found.seeding.hook
    assert (found.folder / "train.py").read_text() == TRACKED["train.py"]
    for change in found.search_space:
        assert change.category in {"architecture", "hyperparams", "regularization", "optimizer"}


def test_the_definition_is_upstreams_unless_told_otherwise(clone: Path, store: StorePaths) -> None:
    found = find_task({"repo": "clone"}, clone.parent, REPO, store)
    assert found.definition.name == "upstream.yaml"
    assert found.origin is not None
    assert found.origin.repo == "clone"
    assert found.metric.name == "val_bpb"
    assert [c.folder for c in found.caches if not c.optional] == ["~/.cache/autoresearch"]


def own(folder: Path, **values: object) -> Path:
    """A definition of one's own, in a folder of one's own."""
    data = yaml.safe_load((REPO / "tasks/autoresearch/upstream.yaml").read_text())
    folder.mkdir(exist_ok=True)
    path = folder / "task.yaml"
    path.write_text(yaml.safe_dump({**data, **values}))
    return path


def test_a_definition_may_name_its_repository(clone: Path, store: StorePaths) -> None:
    folder = clone.parent / "mine"
    own(folder, repo="../clone", commit="master")
    found = find_task("mine", clone.parent, REPO, store)
    assert found.definition == folder / "task.yaml"
    assert found.clone is not None
    assert found.clone.resolve() == clone
    wanted = {"repo": "clone", "definition": "mine/task.yaml"}
    assert find_task(wanted, clone.parent, REPO, store).origin == found.origin.__class__(
        "clone", found.origin.commit, found.origin.tree
    )


def test_a_lock_may_lie_beside_the_definition(clone: Path, store: StorePaths) -> None:
    folder = clone.parent / "locked"
    own(folder, environment="mine.lock")
    wanted = {"repo": "clone", "definition": "locked/task.yaml"}
    with pytest.raises(InputMissingError, match=r"expected the lock mine\.lock in clone at commit"):
        find_task(wanted, clone.parent, REPO, store)
    (folder / "mine.lock").write_text("made-up==1.5\n")
    found = find_task(wanted, clone.parent, REPO, store)
    assert found.environment == folder / "mine.lock"


def test_edits_that_are_not_committed_are_named_once(
    store: StorePaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clone = make_clone(tmp_path / "dirty")
    (clone / "train.py").write_text("mine\n")
    for _ in range(2):
        found = find_task({"repo": str(clone)}, tmp_path, REPO, store)
    said = capsys.readouterr().err
    assert said.count("has changes that are not committed (train.py)") == 1
    assert (found.folder / "train.py").read_text() == TRACKED["train.py"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"fixed": ["ready.py"]}, "names the file ready.py, which is not in clone at commit"),
        ({"fixed": ["src/"]}, "the repository has no files in src/"),
        ({"brief": "train.py"}, "the file train.py has two parts"),
        ({"commit": "main"}, "works only with a `repo`"),
        ({"cache": ["../x"]}, "a folder, without .."),
    ],
)
def test_mistakes_are_named(
    clone: Path, store: StorePaths, values: dict[str, object], words: str
) -> None:
    own(clone.parent / "wrong", **values)
    wanted = {"repo": "clone", "definition": "wrong/task.yaml"}
    with pytest.raises((ConfigError, InputMissingError)) as caught:
        find_task(wanted, clone.parent, REPO, store)
    assert words in str(caught.value)
    assert "task.yaml" in str(caught.value)


def test_unknown_definitions_are_named_with_the_known_ones(store: StorePaths) -> None:
    with pytest.raises(InputMissingError, match="one of macos, mlx, rocm, rtx, trader, upstream"):
        find_task({"repo": "x", "definition": "amd"}, Path(), REPO, store)


def test_where_a_session_finds_clone_and_files(clone: Path, tmp_path: Path) -> None:
    assert task_clone("tasks/bytelm", {}, tmp_path, REPO) is None
    assert task_clone({"repo": "a"}, {}, tmp_path, REPO) == tmp_path / "a"
    assert task_clone({"repo": "https://host/a"}, {}, tmp_path, REPO) is None
    assert task_clone("mine", {"repo": "../a"}, tmp_path, tmp_path) == tmp_path / "mine/../a"
    assert task_folder("tasks/bytelm", tmp_path, REPO, None) == REPO / "tasks" / "bytelm"


def test_a_session_is_refused_before_anything_is_written(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def refusal(task: dict[str, str], **settings: object) -> str:
        with pytest.raises(RatchetError) as caught:
            make_plan({"task": task, **settings}, tmp_path, REPO, owner=False)
        assert not (tmp_path / "results").exists()
        return str(caught.value)

    assert "expected a clone of a repository at" in refusal({"repo": "/nowhere/at/all"})
    assert f"{clone}: has no commit 'mar9'" in refusal({"repo": str(clone), "commit": "mar9"})
    assert "unknown key 'comit'; did you mean 'commit'?" in refusal({"repo": ".", "comit": "x"})
    assert "the key 'repo' is missing" in refusal({"commit": "x"})
    assert "the path or address of a git repository" in refusal({"repo": "--upload-pack=x"})
    said = refusal({"repo": str(clone)})
    assert "expected the folder that runs read (`cache`), found none; run in" in said
    assert said.endswith("uv run prepare.py")
    make_cache(tmp_path / "home")
    assert "fixes its budget itself" in refusal({"repo": str(clone)}, budget_seconds=5)
    found = make_plan({"task": {"repo": str(clone)}}, tmp_path, REPO, owner=False)
    assert found.config.frozen["task"] == {"repo": str(clone)}


def test_an_address_needs_an_environment_named_by_the_configuration(
    clone: Path, tmp_path: Path, store: StorePaths
) -> None:
    found = find_task({"repo": f"file://{clone}", "commit": "master"}, tmp_path, REPO, store)
    assert found.clone is None
    config = SimpleNamespace(python=None)
    with pytest.raises(ConfigError, match=r"python: \.venv lies in a clone of file://"):
        task_interpreter(config, found, tmp_path, REPO)  # type: ignore[arg-type]
    config.python = str(clone / ".venv")
    python = task_interpreter(config, found, tmp_path, REPO)  # type: ignore[arg-type]
    assert python is not None
    assert python.packages == {"made-up": "1.5"}
