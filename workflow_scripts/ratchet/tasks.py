"""The task that a configuration names: a folder of one's own, or somebody's repository."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ratchet import external, files, task
from ratchet.codec import Frozen
from ratchet.config import Config, resolve
from ratchet.errors import ConfigError, InputMissingError
from ratchet.paths import SessionPaths, StorePaths
from ratchet.records import Manifest, Origin
from ratchet.task import DEFINITION, Task

DEFINITIONS = Path("tasks") / "autoresearch"
"""Below the harness: how well-known repositories run, by name."""

DEFAULT_DEFINITION = "upstream"
DEFAULT_COMMIT = "HEAD"


class Named(Frozen):
    """What the key ``task`` says: where the definition is, and whose files it has.

    ``repo`` is empty where the definition itself may name one; ``base`` is where a path
    of a repository begins.
    """

    definition: Path
    base: Path
    repo: str = ""
    commit: str = ""


def named(value: str | Mapping[str, str], root: Path, harness: Path) -> Named:
    """What a value of the key ``task`` means."""
    if isinstance(value, str):
        folder = resolve(value, root, harness)
        return Named(folder / DEFINITION, folder)
    return Named(
        definition=_definition(value.get("definition", DEFAULT_DEFINITION), root, harness),
        base=root,
        repo=value["repo"],
        commit=value.get("commit", DEFAULT_COMMIT),
    )


def _definition(name: str, root: Path, harness: Path) -> Path:
    """A definition by its name among those that come along, or by its path."""
    if "/" in name or name.endswith((".yaml", ".yml")):
        return resolve(name, root, harness)
    return harness / DEFINITIONS / f"{name}.yaml"


def load(config: Config, root: Path, harness: Path, say: bool = True) -> Task:
    """The task of a session as it lies there, checked.

    A session that has begun goes on with the commit that it began with.  What does not
    count, since it is not committed, is told on standard error if ``say``.  Raises
    :class:`ConfigError`, :class:`InputMissingError` or :class:`DataError`.
    """
    paths = SessionPaths(config.session, root)
    frozen: Origin | None = None
    if paths.manifest.is_file():
        frozen = files.read_record(Manifest, paths.manifest).origin
    return find(config.task, root, harness, paths.store, frozen, say)


def find(
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
    told = named(value, root, harness)
    if not told.definition.is_file():
        raise _no_definition(told, harness)
    where = str(told.definition)
    data = task.values(files.read_bytes(told.definition), where)
    repo = told.repo or data.get("repo", "")
    if not repo:
        if not isinstance(value, str):
            raise ConfigError(f"{where}: names no `repo`, and neither does the configuration")
        return task.load(told.definition.parent, harness)
    commit = told.commit or data.get("commit", DEFAULT_COMMIT)
    checkout = external.check_out(repo, commit, told.base, store, frozen)
    if say and checkout.dirty and frozen is None:
        _say_dirty(repo, checkout)
    origin, clone = checkout.origin, checkout.clone
    try:
        whole = external.values_of(data, checkout.folder)
    except InputMissingError as error:
        raise InputMissingError(f"{where}: {error}") from None
    found = task.build(whole, checkout.folder, harness, told.definition, origin, clone)
    task.check(found, where)
    if not found.environment.is_file():
        raise InputMissingError(
            f"{where}: environment: expected the lock {data['environment']} in {repo} at commit "
            f"{origin.commit[:12]}, found none; name another file, or make a lock beside the "
            "definition"
        )
    task.check_files(found)
    return found


_said: set[str] = set()


def _say_dirty(repo: str, checkout: external.Checkout) -> None:
    """Say once that edits which are not committed do not count."""
    if repo in _said:
        return
    _said.add(repo)
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


def clone(
    value: str | Mapping[str, str], values: Mapping[str, Any], root: Path, harness: Path
) -> Path | None:
    """The clone that the task of a session is from; ``None`` without one on this machine."""
    told = named(value, root, harness)
    repo = told.repo or values.get("repo", "")
    return external.clone_of(repo, told.base) if repo else None


def folder(
    value: str | Mapping[str, str], root: Path, harness: Path, origin: Origin | None
) -> Path:
    """Where the files of the task of a session lie."""
    if origin is not None:
        return SessionPaths("", root).store.tree(origin.tree)
    return named(value, root, harness).definition.parent
