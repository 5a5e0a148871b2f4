"""The task that a configuration names: a folder, or one commit of somebody's repository.

Of a repository only Git's object store is read.  The user's clone is never written to:
nothing is checked out there, no lock is taken, and files that are not tracked, such as an
own ``results.tsv`` and ``run.log``, do not count.  A copy is kept by the hash of its tree.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ratchet.base.errors import ConfigError, DataError, InputMissingError
from ratchet.base.git import ForeignGit, GitError
from ratchet.base.io import (
    Fingerprint,
    digest,
    digest_file,
    read_bytes,
    read_record,
    sync_folder,
)
from ratchet.base.structs import Frozen
from ratchet.base.text import one_line, one_line_label, plural
from ratchet.config import Config, resolve_task_folder
from ratchet.records.paths import SessionPaths, StorePaths
from ratchet.records.records import Checkout, Manifest, Origin
from ratchet.records.store import Store
from ratchet.task.task import (
    BRIEF,
    DEFINITION,
    Task,
    build_task,
    check_task,
    task_values,
)

# A large repository over a slow line; git says nothing while it works.
FETCH_SECONDS = 1800.0
_URL = re.compile(r"[a-z][a-z0-9+.-]*://|[^/\s:]+@[^/\s:]+:", re.IGNORECASE)
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_FILE, _PROGRAM = "100644", "100755"


class CommitFiles(Frozen):
    """A commit's files in ``folder``; ``clone`` is the local clone they are from.

    ``dirty`` names tracked files of the clone that differ from its last commit and are
    not what is used.
    """

    origin: Origin
    folder: Path
    clone: Path | None
    dirty: tuple[str, ...] = ()


def is_url(repo: str) -> bool:
    """Whether a repository is named by an address rather than by a path."""
    return _URL.match(repo) is not None


def clone_of(repo: str, base: Path) -> Path | None:
    """The folder of a local clone; ``None`` for an address."""
    return None if is_url(repo) else base / Path(repo).expanduser()


def check_out_commit(
    repo: str, commit: str, base: Path, store: StorePaths, frozen: Origin | None = None
) -> CommitFiles:
    """The files of a commit, from the store or fetched into it now.

    ``repo`` is a path, relative to ``base``, or an address; ``commit`` anything that
    Git understands.  With ``frozen`` that is the commit, whatever a branch is at by
    now.  Raises :class:`InputMissingError` for a repository or a commit that is not
    there and :class:`DataError` for one that cannot be used.
    """
    clone = clone_of(repo, base)
    if frozen is not None and store.tree(frozen.tree).is_dir():
        # Sessions go on where the clone was moved away, and without a network.
        return CommitFiles(frozen, store.tree(frozen.tree), clone)
    wanted = frozen.commit if frozen else commit
    git = _Git(_fetched(repo, wanted, store) if clone is None else _local(clone, repo))
    found = git.commit(wanted)
    if found is None:
        raise InputMissingError(
            f"{repo}: has no commit {commit!r}; name another one by `commit` (see: git log), or "
            "commit your changes first" + ("" if clone else "; of a hash give all 40 characters")
        )
    origin = Origin(repo, found, git.tree(found))
    if frozen is not None and origin.tree != frozen.tree:
        raise DataError(f"{repo}: commit {found} has another tree than when the session started")
    folder = store.tree(origin.tree)
    if not folder.is_dir():
        _copy(git, origin.tree, folder, store)
    return CommitFiles(origin, folder, clone, git.dirty() if clone else ())


class OriginPlace(Frozen):
    """Repository that has the commit of a task: its git folder, and the task's folder in it.

    ``prefix`` is empty, or ends with a slash; ``fetched`` tells that it is a copy of ours.
    """

    git_folder: Path
    prefix: str
    fetched: bool


def origin_place(origin: Origin, clone: Path | None, store: StorePaths) -> OriginPlace:
    """The clone on this machine that has the commit of a task, or the copy that was fetched.

    Raises :class:`InputMissingError` where there is none any more.
    """
    repo, commit = origin.repo, origin.commit
    git = _Git(_fetched(repo, commit, store) if clone is None else _local(clone, repo))
    if git.commit(commit) is None:
        raise InputMissingError(
            f"{repo}: expected commit {commit}, which the session's task is from, found none; "
            "fetch it there again"
        )
    common = git.folder / git.line("rev-parse", "--git-common-dir")
    return OriginPlace(common.resolve(), "" if clone is None else git.prefix, clone is None)


def _local(clone: Path, repo: str) -> Path:
    if not clone.is_dir():
        raise InputMissingError(
            f"{repo}: expected a clone of a repository at {clone}, found no such folder; "
            "clone it there, or correct `repo`"
        )
    return clone


def _fetched(repo: str, commit: str, store: StorePaths) -> Path:
    """A bare repository of ours that holds the commit, fetched where it does not yet.

    Sessions that start at once fetch one after the other.
    """
    place = store.clone(digest(repo)[:32])
    with Store(store).locked(place.name):
        return _fetched_into(place, repo, commit)


def _fetched_into(place: Path, repo: str, commit: str) -> Path:
    git = _Git(place)
    if not (place / "objects").is_dir():
        place.mkdir(parents=True, exist_ok=True)
        git.call("init", "--bare", "--quiet", "--template=")
    if _HASH.fullmatch(commit) and git.commit(commit) is not None:
        return place
    problem = git.problem("fetch", "--quiet", "--depth", "1", "--no-tags", "--", repo, commit)
    if problem is None:
        git.call("update-ref", _kept(commit), "FETCH_HEAD")
        return place
    # A short hash, or a server that hands out branches alone.
    everything = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
    other = git.problem("fetch", "--quiet", "--no-tags", "--", repo, *everything)
    if other is not None:
        raise InputMissingError(
            f"{repo}: cannot be fetched ({one_line(other)[:300]}); look at the address and the "
            "network, or clone it and name the clone's folder by `repo`"
        )
    return place


def _copy(git: _Git, tree: str, folder: Path, store: StorePaths) -> None:
    """All files of a tree, read-only; the folder appears when it is whole."""
    with Store(store).partial_folder("tree-") as partial:
        place = partial / "tree"
        place.mkdir()
        for path, mode, content in git.files(tree):
            target = place / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(0o555 if mode == _PROGRAM else 0o444)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            place.rename(folder)
        except OSError:
            if not folder.is_dir():  # else somebody else was first
                raise
    sync_folder(folder.parent)


class _Git(ForeignGit):
    """One repository that is not ours."""

    def __init__(self, place: Path) -> None:
        # Nothing of the clone is refreshed.
        super().__init__(
            place,
            FETCH_SECONDS,
            GIT_OPTIONAL_LOCKS="0",
            GIT_NO_REPLACE_OBJECTS="1",
            GIT_LITERAL_PATHSPECS="1",
            LC_ALL="C",
        )

    def problem(self, *words: str) -> str | None:
        """Complaint of a Git command; ``None`` if it succeeded."""
        try:
            self.call(*words)
        except GitError as error:
            return error.said
        return None

    def commit(self, revision: str) -> str | None:
        """The whole hash of what a revision names; ``None`` if there is no such commit.

        Raises :class:`InputMissingError` if there is no repository at all.
        """
        problem = self.problem("rev-parse", "--git-dir")
        if problem is not None:
            raise InputMissingError(
                f"{self.folder}: expected a git repository ({one_line(problem)[:200]}); clone one, "
                "or name the folder of the clone by `repo`"
            )
        known = (self.resolve(name + "^{commit}") for name in _names(revision))
        return next((found for found in known if found), None)

    def tree(self, commit: str) -> str:
        """The hash of a commit's tree, or of the part of it that the given folder is."""
        tree = self.resolve(f"{commit}:{self.prefix}")
        if tree is None:
            raise InputMissingError(
                f"{self.folder}: commit {commit} has no files in this folder, which lies in "
                "another repository; name the folder of the clone by `repo`"
            )
        return tree

    def dirty(self) -> tuple[str, ...]:
        """Tracked files that differ from the last commit."""
        if self.line("rev-parse", "--is-bare-repository") == "true":
            return ()
        words = ("status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=all")
        entries = self.call(*words).decode(errors="replace").split("\0")
        return tuple(entry[3:] for entry in entries if len(entry) > 3 and entry[2] == " ")

    def files(self, tree: str) -> list[tuple[str, str, bytes]]:
        """Path, mode and content of all ordinary files; links and submodules are left out."""
        listed = self.call("ls-tree", "-r", "-z", "--full-tree", tree)
        entries = []
        for entry in filter(None, listed.split(b"\0")):
            about, _, path = entry.partition(b"\t")
            mode, _, sha = about.decode().split(" ")
            if mode in (_FILE, _PROGRAM):
                entries.append((os.fsdecode(path), mode, sha))
        contents = self._blobs([sha for _, _, sha in entries])
        return [(path, mode, contents[sha]) for path, mode, sha in entries]

    def _blobs(self, names: Sequence[str]) -> dict[str, bytes]:
        """Contents by hash, all asked of one process."""
        with tempfile.TemporaryFile() as asked:
            asked.write("".join(f"{name}\n" for name in names).encode())
            asked.seek(0)
            said = self.call("cat-file", "--batch", istream=asked)
        found, place = {}, 0
        for name in names:
            end = said.index(b"\n", place)
            size = int(said[place:end].split(b" ")[2])
            found[name] = said[end + 1 : end + 1 + size]
            place = end + size + 2
        return found


def _kept(commit: str) -> str:
    """Reference that keeps the commit of a name as it was fetched."""
    return f"refs/ratchet/{digest(commit)[:32]}"


def _names(revision: str) -> Sequence[str]:
    """Names that a revision may stand for: as fetched, here, or a branch of the origin."""
    return (_kept(revision), revision, f"refs/remotes/origin/{revision}")


def expand_files(names: Sequence[str], folder: Path) -> list[str]:
    """File names of a task, with all files of those that end with ``/``.

    What Python compiled, and files and folders whose names begin with a dot, are left out.
    """
    found: list[str] = []
    for name in names:
        if not name.endswith("/"):
            found.append(name)
            continue
        below = sorted(
            path.relative_to(folder) for path in (folder / name).rglob("*") if path.is_file()
        )
        below = [path for path in below if not any(map(_is_left_out, path.parts))]
        if not below:
            raise InputMissingError(f"there are no files in {name}")
        found += map(str, below)
    return found


def _is_left_out(part: str) -> bool:
    return part.startswith(".") or part == "__pycache__"


def values_of(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The values of a definition with folders among its files replaced by their files."""
    named = data.get("fixed", ())
    mutable, fixed = expand_files(data.get("mutable", ()), folder), expand_files(named, folder)
    # What is mutable is not fixed, though its folder is.
    found = {"mutable": mutable, "fixed": [n for n in fixed if n in named or n not in mutable]}
    return {**data, **{key: names for key, names in found.items() if key in data}}


BUDGET_SECONDS = 300.0
"""Training time of a task that names no budget: what karpathy/autoresearch gives each run."""

TIMES_BUDGET, LEAST_TIMEOUT_SECONDS = 3.0, 60.0
"""Wall-clock limit of a task that names none, in budgets: starting, compiling and evaluating
may take as long again; and its least, for a cold disk."""

STEPS_TIMEOUT_SECONDS = 3600.0
"""The same where the budget is in steps, whose time nobody knows before the first run."""


def complete_values(data: Mapping[str, Any], folder: Path, name: str, where: str) -> dict[str, Any]:
    """Checked values of a ``task.yaml`` with defaults for the keys that it does not have.

    ``folder`` has the task's files, and ``name`` is what a task without a name is called.
    Raises :class:`ConfigError` where no file can be told that experiments may change.
    """
    found = {"name": plain_name(name), **data}
    if "mutable" not in found:
        scripts = command_files(found["command"], lambda name: (folder / name).is_file())
        if not scripts:
            raise ConfigError(
                f"{where}: the key 'mutable' is missing, and no word of `command` "
                f"({' '.join(found['command'])}) is a file of {folder}; name the files that "
                "experiments may change, such as mutable: [train.py]"
            )
        found["mutable"] = scripts[:1]
    found.setdefault("fixed", [])
    if "brief" not in found and (folder / BRIEF).is_file():
        found["brief"] = BRIEF
    texts = [_text_of(folder / each) for each in (*found["mutable"], *found["fixed"])]
    if "budget" not in found:
        found["budget"] = default_budget(texts)
    if "timeout_seconds" not in found:
        seconds = found["budget"].get("seconds")
        least = LEAST_TIMEOUT_SECONDS
        limit = STEPS_TIMEOUT_SECONDS if seconds is None else max(TIMES_BUDGET * seconds, least)
        found["timeout_seconds"] = limit
    if "seed" not in found:
        reads = any("RATCHET_SEED" in text for text in texts)
        found["seed"] = "environment" if reads else "hook"
    return found


_TIMED = re.compile(
    r"time_?budget|time_?limit|budget_?(?:seconds|minutes)|max_?(?:seconds|minutes|hours|time\b)",
    re.IGNORECASE,
)
"""Names by which code says how long it trains."""


def default_budget(texts: Iterable[str]) -> dict[str, Any]:
    """Budget of a task whose files have these texts.

    Code that reads Ratchet's variables is given seconds.  All other code sets its budget
    itself: a time, where it names one, or else so much work, which a busy machine does not
    change.
    """
    texts = list(texts)
    if any("RATCHET_BUDGET" in text for text in texts):
        return {"seconds": BUDGET_SECONDS}
    if any(map(_TIMED.search, texts)):
        return {"seconds": BUDGET_SECONDS, "fixed": True}
    return {"steps": 1, "fixed": True}


def plain_name(name: str) -> str:
    """A name of letters, digits and ``. _ -`` that is like another one."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "task"


def command_files(command: Sequence[str], is_file: Callable[[str], bool]) -> list[str]:
    """Files of a task among the words of a command; a module counts by its file.

    ``is_file`` knows relative paths; a path that leads out of the folder is none.
    """
    found: list[str] = []
    for before, word in zip(["", *command], command, strict=False):
        options = [word, word.partition("=")[2]]
        if before == "-m":
            module = word.replace(".", "/")
            options = [f"{module}.py", f"{module}/__main__.py"]
        paths = [PurePosixPath(option) for option in options if option]
        inside = [each.as_posix() for each in paths if not each.is_absolute()]
        found += [
            name
            for name in inside
            if name not in found and ".." not in name.split("/") and is_file(name)
        ][:1]
    return found


def _text_of(path: Path) -> str:
    """Text of a file; empty for one that is not there, which is named later, and for a folder."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


DEFINITIONS = Path("tasks") / "autoresearch"
"""Below the harness: how well-known repositories run, by name."""
DEFAULT_DEFINITION = "upstream"
DEFAULT_COMMIT = "HEAD"


class Named(Frozen):
    """Task as the key ``task`` names it: place of the definition, and whose files it has.

    ``repo`` is empty where the definition itself may name one; ``base`` is where a path
    of a repository begins.
    """

    definition: Path
    base: Path
    repo: str = ""
    commit: str = ""

    @property
    def folder(self) -> Path:
        """Folder with the task's files, unless a repository has them."""
        return self.definition.parent

    def clone(self, values: Mapping[str, Any]) -> Path | None:
        """The folder, or clone, on this machine that a task with these values is from.

        ``None`` for a repository that is not here.
        """
        repo = self.repo or values.get("repo", "")
        return clone_of(repo, self.base) if repo else self.folder


def named_task(value: str | Mapping[str, str], root: Path, harness: Path) -> Named:
    """Read a value of the key ``task``."""
    if isinstance(value, str):
        folder = resolve_task_folder(value, root, harness)
        return Named(folder / DEFINITION, folder)
    name = value.get("definition", DEFAULT_DEFINITION)
    definition = harness / DEFINITIONS / f"{name}.yaml"
    if "/" in name or name.endswith((".yaml", ".yml")):
        definition = resolve_task_folder(name, root, harness)
    return Named(definition, root, value["repo"], value.get("commit", DEFAULT_COMMIT))


def task_of_config(config: Config, root: Path, harness: Path, say: bool = True) -> Task:
    """The task of a session as it lies there, checked.

    A session that has begun goes on with the commit that it began with.  What does not
    count, since it is not committed, is told on standard error if ``say``.  Raises
    :class:`ConfigError`, :class:`InputMissingError` or :class:`DataError`.
    """
    paths = SessionPaths(config.session, root)
    frozen: Origin | None = None
    if paths.manifest.is_file():
        frozen = read_record(Manifest, paths.manifest).origin
    return find_task(config.task, root, harness, paths.store, frozen, say)


def find_task(
    value: str | Mapping[str, str],
    root: Path,
    harness: Path,
    store: StorePaths,
    frozen: Origin | None = None,
    say: bool = True,
) -> Task:
    """The task that a value of the key ``task`` names, checked.

    Of a repository one commit is taken: ``frozen`` if it is given.
    """
    told = named_task(value, root, harness)
    if not told.definition.is_file():
        raise _no_definition(told, harness)
    where = str(told.definition)
    data = task_values(read_bytes(told.definition), where)
    repo = told.repo or data.get("repo", "")
    if not (repo or isinstance(value, str)):
        raise ConfigError(f"{where}: names no `repo`, and neither does the configuration")
    place: Path | None
    origin: Origin | None
    clone: Path | None
    if repo:
        commit = told.commit or data.get("commit", DEFAULT_COMMIT)
        checkout = check_out_commit(repo, commit, told.base, store, frozen)
        if say and checkout.dirty and frozen is None:
            _say_dirty(repo, checkout)
        folder, name = checkout.folder, Path(repo).name.removesuffix(".git")
        place, origin, clone = told.definition, checkout.origin, checkout.clone
    else:
        folder, name = told.folder, told.folder.resolve().name
        place, origin, clone = None, None, folder
    try:
        data = complete_values(values_of(data, folder), folder, name, where)
    except InputMissingError as error:
        raise InputMissingError(f"{where}: {error}") from None
    task = build_task(data, folder, harness, place, origin, clone)
    check_task(task)
    return task


MOST_CHANGED = 1_000
"""Changed files of a checkout that are listed."""


def checkout_of(task: Task) -> Checkout | None:
    """The checkout that a task lies in as it is now; ``None`` where it lies in none.

    It is read and never written to.
    """
    if task.clone is None or not task.clone.is_dir():
        return None
    git = _Git(task.clone)
    try:
        commit = git.resolve("HEAD^{commit}")
        names = git.dirty() if commit else ()
        top = Path(git.line("rev-parse", "--show-toplevel")) if names else Path()
    except GitError:
        return None
    if commit is None:
        return None
    return Checkout(commit, tuple(_changed(top, name) for name in sorted(names)[:MOST_CHANGED]))


def _changed(top: Path, name: str) -> Fingerprint:
    path = top / name
    if not path.is_file():
        return Fingerprint(name, "", 0)
    return Fingerprint(name, digest_file(path), path.stat().st_size)


def say_changed(checkout: Checkout, task: Task) -> None:
    """Say which files of a task's own folder a session takes that are not committed.

    Those of a repository's commit are left alone, and that is said where it is read.
    """
    if task.origin is not None or not checkout.changed:
        return
    names = [one_line_label(entry.path) for entry in checkout.changed]
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    print(
        f"ratchet: {plural(len(names), 'file')} of the checkout not committed ({shown}); the "
        "session goes by the files as they are now, and its manifest lists them",
        file=sys.stderr,
    )


@functools.cache
def _say_dirty(repo: str, checkout: CommitFiles) -> None:
    """Say once that edits which are not committed do not count."""
    shown = ", ".join(checkout.dirty[:3]) + (", ..." if len(checkout.dirty) > 3 else "")
    print(
        f"ratchet: {repo}: has changes that are not committed ({shown}); they are left alone, and "
        f"commit {checkout.origin.commit[:12]} is used",
        file=sys.stderr,
    )


def _no_definition(told: Named, harness: Path) -> InputMissingError:
    if not told.repo:
        return InputMissingError(
            f"{told.definition.parent}: holds no {DEFINITION}; set `task` to the folder of a task, "
            "such as tasks/bytelm"
        )
    known = sorted(path.stem for path in (harness / DEFINITIONS).glob("*.yaml"))
    return InputMissingError(
        f"task.definition: expected one of {', '.join(known)} or the path of a definition, found "
        f"nothing at {told.definition}"
    )
