"""The task that a configuration names: a folder, or one commit of somebody's repository."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from helpers import REPO, load_task
from helpers.clones import Clone
from helpers.repositories import TRACKED, git, make_cache, make_clone
from ratchet.base.errors import ConfigError, DataError, InputMissingError, RatchetError
from ratchet.records.paths import StorePaths
from ratchet.records.records import Origin
from ratchet.steps.plan import make_plan
from ratchet.task.environment import task_interpreter
from ratchet.task.repository import (
    check_out_commit,
    expand_files,
    find_task,
    is_url,
    named_task,
    values_of,
)
from ratchet.task.task import Seeding

FILES = {
    "train.py": b"x = 1\r\n",
    "lib/a.py": b"\xff\0\n",
    "lib/b c/d.py": b"",
    "r\xc3\xa9.md": b"\n",
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    made = Clone(tmp_path / "a clone")
    (made.folder / "run.sh").touch(0o755)
    (made.folder / "link").symlink_to("/etc/passwd")
    attributes = "*.py text eol=lf export-ignore\n*.md export-subst\n"
    made.commit({**FILES, ".gitattributes": attributes, "run.sh": "true\n"})
    made.git("branch", "-M", "main")
    made.git("tag", "v1")
    return made.folder


@pytest.fixture
def store(tmp_path: Path) -> StorePaths:
    return StorePaths(tmp_path / "store")


def test_a_commit_is_copied_once_and_by_content(clone: Path, store: StorePaths) -> None:
    (clone / "results.tsv").write_text("mine\n")
    (clone / "train.py").write_text("x = 2\n")
    found = check_out_commit("a clone", "HEAD", clone.parent, store)
    commit, tree = git(clone, "rev-parse", "HEAD", "HEAD^{tree}").split()
    assert found.origin == Origin("a clone", commit, tree)
    assert (found.folder, found.clone) == (store.tree(tree), clone)
    assert found.dirty == ("train.py",)
    files = [path for path in found.folder.rglob("*") if path.is_file()]
    copied = {str(path.relative_to(found.folder)): path.read_bytes() for path in files}
    assert copied.pop(".gitattributes").startswith(b"*.py")
    assert copied.pop("run.sh") == b"true\n"
    # Whatever attributes say, the bytes are those that Git keeps; links lead nowhere.
    assert copied == {**FILES, "train.py": b"x = 1\n"}
    assert os.access(found.folder / "run.sh", os.X_OK)
    assert not (found.folder / "train.py").stat().st_mode & 0o222

    git(clone, "checkout", "--quiet", "--", "train.py")
    git(clone, "commit", "--quiet", "--allow-empty", "--message", "two")
    again = check_out_commit("a clone", "main", clone.parent, store)
    assert again.origin.commit != found.origin.commit
    assert again.folder == found.folder
    assert again.dirty == ()


def test_a_frozen_commit_needs_neither_branch_nor_clone(clone: Path, store: StorePaths) -> None:
    first = check_out_commit(str(clone), "v1", Path(), store).origin
    (clone / "train.py").write_text("x = 3\n")
    git(clone, "commit", "--quiet", "--all", "--message", "two")
    git(clone, "tag", "--force", "v1")
    assert check_out_commit(str(clone), "v1", Path(), store).origin != first
    assert check_out_commit(str(clone), "v1", Path(), store, first).origin == first
    fresh = StorePaths(store.root.with_name("other"))
    found = check_out_commit(str(clone), "v1", Path(), fresh, first)
    assert (found.folder / "train.py").read_bytes() == b"x = 1\n"
    clone.rename(clone.with_name("moved"))
    assert check_out_commit(str(clone), "v1", Path(), store, first).origin == first


def test_an_address_is_fetched_and_then_needed_no_more(clone: Path, store: StorePaths) -> None:
    address = f"file://{clone}"
    full = git(clone, "rev-parse", "HEAD").strip()
    for commit in ("main", "v1", "HEAD", full[:8], full):
        found = check_out_commit(address, commit, Path("/nowhere"), store)
        assert (found.origin.commit, found.clone, found.dirty) == (full, None, ())
        assert (found.folder / "lib" / "a.py").read_bytes() == FILES["lib/a.py"]
    clone.rename(clone.with_name("moved"))
    assert check_out_commit(address, full, Path(), store).origin.commit == full
    with pytest.raises(InputMissingError, match="cannot be fetched"):
        check_out_commit(address, "other", Path(), store)
    with pytest.raises(InputMissingError, match=r"cannot be fetched .*look at the address"):
        check_out_commit(f"file://{clone}.none", "main", Path(), store)


def test_a_folder_of_a_repository_has_its_own_tree(clone: Path, store: StorePaths) -> None:
    found = check_out_commit(str(clone / "lib"), "HEAD", Path(), store)
    assert found.origin.tree == git(clone, "rev-parse", "HEAD:lib").strip()
    assert (found.folder / "a.py").is_file()
    (clone / "untracked").mkdir()
    with pytest.raises(InputMissingError, match="has no files in this folder"):
        check_out_commit(str(clone / "untracked"), "HEAD", Path(), store)


def test_no_such_commit_repository_or_tree(clone: Path, tmp_path: Path, store: StorePaths) -> None:
    for commit in ("mar9", "--all", "HEAD~5", "v1:train.py", "0" * 40):
        with pytest.raises(InputMissingError, match="has no commit"):
            check_out_commit(str(clone), commit, Path(), store)
    assert not list(store.root.rglob("*.py"))
    with pytest.raises(InputMissingError, match="expected a clone of a repository at"):
        check_out_commit("none", "HEAD", tmp_path, store)
    (tmp_path / "plain").mkdir()
    with pytest.raises((InputMissingError, DataError), match="expected a git repository"):
        check_out_commit("plain", "HEAD", tmp_path, store)
    found = check_out_commit(str(clone), "HEAD", Path(), store).origin
    bent = Origin(found.repo, found.commit, "0" * 40)
    with pytest.raises(DataError, match="has another tree than when the session started"):
        check_out_commit(str(clone), "HEAD", Path(), store, bent)


def test_folders_stand_for_their_files(tmp_path: Path) -> None:
    for name in ("a/x.py", "a/b/y.py", "z.py", "a/__pycache__/x.pyc", "a/.b/c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert expand_files(["z.py", "a/"], tmp_path) == ["z.py", "a/b/y.py", "a/x.py"]
    data = {"mutable": ["a/x.py"], "fixed": ["a/", "z.py"], "name": "n"}
    assert values_of(data, tmp_path) == {**data, "fixed": ["a/b/y.py", "z.py"]}
    with pytest.raises(InputMissingError, match="no files in none/"):
        expand_files(["none/"], tmp_path)


DEFINITIONS = sorted((REPO / "tasks" / "autoresearch").glob("*.yaml"))


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clone(tmp_path_factory.mktemp("home") / "clone")


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda p: p.stem)
def test_every_definition_fits_a_clone(upstream: Path, store: StorePaths, path: Path) -> None:
    wanted = {"repo": str(upstream), "definition": path.stem}
    found = find_task(wanted, Path("/nowhere"), REPO, store)
    assert found.definition == path
    assert found.folder == store.tree(git(upstream, "rev-parse", "HEAD^{tree}").strip())
    assert found.environment == found.folder / "uv.lock"
    assert found.python == upstream / ".venv"
    assert found.budget_fixed and found.seeding.hook
    assert (found.folder / "train.py").read_text() == TRACKED["train.py"]
    categories = {change.category for change in found.search_space}
    assert categories <= {"architecture", "hyperparams", "regularization", "optimizer"}


def own(folder: Path, **values: object) -> Path:
    """A definition of one's own, in a folder of one's own."""
    data = yaml.safe_load((REPO / "tasks/autoresearch/upstream.yaml").read_text())
    folder.mkdir(exist_ok=True)
    path = folder / "task.yaml"
    path.write_text(yaml.safe_dump({**data, **values}))
    return path


def test_a_definition_may_name_its_repository(upstream: Path, store: StorePaths) -> None:
    path = own(upstream.parent / "mine", repo="../clone", commit="master")
    found = find_task("mine", upstream.parent, REPO, store)
    assert found.definition == path
    assert found.clone.resolve() == upstream
    wanted = {"repo": "clone", "definition": "mine/task.yaml"}
    again = find_task(wanted, upstream.parent, REPO, store)
    assert again.origin == Origin("clone", found.origin.commit, found.origin.tree)
    # Unless told otherwise the definition is upstream's.
    usual = find_task({"repo": "clone"}, upstream.parent, REPO, store)
    assert usual.definition.name == "upstream.yaml"
    assert usual.metric.name == "val_bpb"
    assert [c.folder for c in usual.caches if not c.optional] == ["~/.cache/autoresearch"]


def test_a_lock_may_lie_beside_the_definition(upstream: Path, store: StorePaths) -> None:
    folder = upstream.parent / "locked"
    own(folder, environment="mine.lock")
    wanted = {"repo": "clone", "definition": "locked/task.yaml"}
    with pytest.raises(InputMissingError, match=r"expected the lock mine\.lock in clone at commit"):
        find_task(wanted, upstream.parent, REPO, store)
    (folder / "mine.lock").write_text("made-up==1.5\n")
    found = find_task(wanted, upstream.parent, REPO, store)
    assert found.environment == folder / "mine.lock"


def test_edits_that_are_not_committed_are_named_once(store, tmp_path, capsys) -> None:
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
        ({"fixed": ["src/"]}, "there are no files in src/"),
        ({"brief": "train.py"}, "the file train.py has two parts"),
    ],
)
def test_mistakes_are_named(upstream, store, values, words) -> None:
    own(upstream.parent / "wrong", **values)
    wanted = {"repo": "clone", "definition": "wrong/task.yaml"}
    with pytest.raises((ConfigError, InputMissingError)) as caught:
        find_task(wanted, upstream.parent, REPO, store)
    assert words in str(caught.value)
    assert "task.yaml" in str(caught.value)


def test_where_a_session_finds_clone_and_files(tmp_path: Path, store: StorePaths) -> None:
    assert all(map(is_url, ("https://host/a/b.git", "git@host:a/b.git", "file:///a/b")))
    assert not any(map(is_url, ("~/a/b", "/a/b:c", "a@b/c")))
    with pytest.raises(InputMissingError, match="one of macos, mlx, rocm, rtx, trader, upstream"):
        find_task({"repo": "x", "definition": "amd"}, Path(), REPO, store)
    found = find_task("tasks/bytelm", Path("/nowhere"), REPO, store)
    assert (found.origin, found.clone) == (None, REPO / "tasks" / "bytelm")
    assert found.definition == REPO / "tasks" / "bytelm" / "task.yaml"
    assert not store.root.exists()
    assert named_task("tasks/bytelm", tmp_path, REPO).clone({}) == found.folder
    assert named_task({"repo": "a"}, tmp_path, REPO).clone({}) == tmp_path / "a"
    assert named_task({"repo": "https://host/a"}, tmp_path, REPO).clone({}) is None
    assert named_task("mine", tmp_path, tmp_path).clone({"repo": "../a"}) == tmp_path / "mine/../a"
    assert named_task("tasks/bytelm", tmp_path, REPO).folder == REPO / "tasks" / "bytelm"


def test_a_session_is_refused_before_anything_is_written(upstream, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def refusal(task: dict[str, str], **settings: object) -> str:
        with pytest.raises(RatchetError) as caught:
            make_plan({"task": task, **settings}, tmp_path, REPO, owner=False)
        assert not (tmp_path / "results").exists()
        return str(caught.value)

    assert "expected a clone of a repository at" in refusal({"repo": "/nowhere/at/all"})
    assert f"{upstream}: has no commit 'mar9'" in refusal({"repo": str(upstream), "commit": "mar9"})
    assert "unknown key 'comit'; did you mean 'commit'?" in refusal({"repo": ".", "comit": "x"})
    assert "the key 'repo' is missing" in refusal({"commit": "x"})
    assert "the path or address of a git repository" in refusal({"repo": "--upload-pack=x"})
    said = refusal({"repo": str(upstream)})
    assert "expected the folder that runs read (`cache`), found none; run: uv run" in said
    assert f"{upstream} prepare.py" in said
    make_cache(tmp_path / "home")
    assert "fixes its budget itself" in refusal({"repo": str(upstream)}, budget_seconds=5)
    found = make_plan({"task": {"repo": str(upstream)}}, tmp_path, REPO, owner=False)
    assert found.config.frozen["task"] == {"repo": str(upstream)}


def test_an_address_needs_an_environment_of_its_own(upstream, tmp_path, store) -> None:
    found = find_task({"repo": f"file://{upstream}", "commit": "master"}, tmp_path, REPO, store)
    assert found.clone is None
    config = SimpleNamespace(python=None)
    with pytest.raises(ConfigError, match=r"python: \.venv lies in a clone of file://"):
        task_interpreter(config, found, tmp_path, REPO)
    config.python = str(upstream / ".venv")
    python = task_interpreter(config, found, tmp_path, REPO)
    assert python.packages == {"made-up": "1.5"}


PLAIN = "import os\nLR = 0.1\nprint('val_loss: 1')\n"
LEAST = {"command": ["python", "train.py"], "metric": {"name": "val_loss", "direction": "minimize"}}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    place = tmp_path / "my model (2)"
    (place / "pkg").mkdir(parents=True)
    for name in ("train.py", "pkg/__init__.py", "pkg/fit.py"):
        (place / name).write_text(PLAIN)
    return place


def define(plain: Path, **values: object) -> None:
    (plain / "task.yaml").write_text(yaml.safe_dump({**LEAST, **values}))


def test_a_task_needs_a_command_and_a_metric_alone(plain: Path) -> None:
    define(plain)
    task = load_task(plain)
    assert (task.name, task.mutable, task.fixed) == ("my-model-2", ("train.py",), ())
    assert (task.brief, task.environment, task.files) == ("", None, ("train.py",))
    assert (task.budget_steps, task.budget_fixed, task.timeout_seconds) == (1, True, 3600)
    assert (task.seeding, task.clone) == (Seeding(hook=True), plain)
    (plain / "program.md").write_text("# mine\n")
    assert load_task(plain).brief == "program.md"


@pytest.mark.parametrize(
    ("text", "budget", "seconds", "seed"),
    [
        ("TIME_BUDGET = 60", {"seconds": 300, "fixed": True}, 900, "hook"),
        ("x['RATCHET_BUDGET_SECONDS']; x['RATCHET_SEED']", {"seconds": 300}, 900, "environment"),
        ("print('training_seconds: 3')", {"steps": 1, "fixed": True}, 3600, "hook"),
    ],
)
def test_defaults_go_by_what_the_files_read(plain, text, budget, seconds, seed) -> None:
    (plain / "train.py").write_text(text)
    define(plain)
    values = load_task(plain).values
    assert (values["budget"], values["timeout_seconds"], values["seed"]) == (budget, seconds, seed)


def test_a_limit_grows_with_the_budget_that_is_given(plain: Path) -> None:
    define(plain, budget={"seconds": 1})
    assert load_task(plain).timeout_seconds == 60


@pytest.mark.parametrize(
    ("command", "mutable"),
    [
        (["python", "-m", "pkg.fit", "--x"], "pkg/fit.py"),
        (["python", "./train.py", "pkg/fit.py"], "train.py"),
        (["sh", "-c", "make && ./fit", "pkg/fit.py"], "pkg/fit.py"),
    ],
)
def test_the_script_of_the_command_is_mutable(plain, command, mutable) -> None:
    define(plain, command=command)
    assert load_task(plain).mutable == (mutable,)


@pytest.mark.parametrize("command", [["make", "run"], ["python", "../x.py"], ["sh", "pkg"]])
def test_a_command_without_a_script_says_what_to_name(plain, command) -> None:
    define(plain, command=command)
    with pytest.raises(ConfigError, match="'mutable' is missing, and no word of `command`"):
        load_task(plain)


def test_folders_of_a_task_stand_for_their_files(plain: Path) -> None:
    define(plain, fixed=["pkg/"])
    (plain / "pkg" / "__pycache__").mkdir()
    (plain / "pkg" / "__pycache__" / "fit.pyc").write_text("")
    assert load_task(plain).fixed == ("pkg/__init__.py", "pkg/fit.py")


def test_an_interpreter_of_the_folder_counts_before_the_harness_s(plain: Path) -> None:
    define(plain, python="envs/mine")
    assert load_task(plain, plain.parent).python == plain.parent / "envs" / "mine"
    (plain / "envs" / "mine").mkdir(parents=True)
    assert load_task(plain, plain.parent).python == plain / "envs" / "mine"
