"""Folders and environment of one training run, before and after it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from ratchet.base.errors import ConfigError, InputMissingError
from ratchet.base.io import digest_file, remove_run_folder
from ratchet.base.structs import Frozen
from ratchet.records.store import Store
from ratchet.runs.sandbox import container
from ratchet.runs.sandbox.box import Box
from ratchet.runs.sandbox.container import path_inside
from ratchet.runs.sandbox.sandbox import SandboxKind
from ratchet.runs.spec import THREAD_VARIABLES, RunSpec
from ratchet.task.edits import replace_value
from ratchet.task.environment import CacheMount, Interpreter, package_paths

# --------------------------------------------------------------------
# Folders outside of a task that its runs read: an own cache of data, tokenizers, kernels.
#
# They are fingerprinted when a session starts, and looked at again before every run:
# names, sizes and digests of all files.  The digest of a large file is remembered by its
# size and time.  Runs see them read-only, as far as the kind of isolation can do that.


# ------------------------------------------------------------------- one run's


def lay_out_caches(mounts: Sequence[CacheMount], work: Path, kind: SandboxKind) -> None:
    """Make the places in a run's folder; where nothing can be mounted, links or copies."""
    for entry in mounts:
        if entry.place.is_absolute():
            if kind is SandboxKind.CONTAINER and not container.container_mounts_inputs():
                raise ConfigError(
                    f"cache: {entry.source} cannot be shown to a run in another container that "
                    "nothing can be mounted into; set isolation to auto"
                )
            continue
        place = work / entry.place
        if kind is SandboxKind.BUBBLEWRAP or (
            kind is SandboxKind.CONTAINER and container.container_mounts_inputs()
        ):
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if kind is SandboxKind.CONTAINER:
            shutil.copytree(entry.source, place)
        else:
            place.symlink_to(entry.source.resolve(), target_is_directory=True)


def mounted_caches(mounts: Sequence[CacheMount], work: Path) -> Mapping[Path, Path]:
    """Places by what is mounted there, for a box."""
    return {
        (e.place if e.place.is_absolute() else work / e.place): e.source.resolve() for e in mounts
    }


def readable_caches(mounts: Sequence[CacheMount]) -> list[Path]:
    """What a run has to be able to read where nothing is mounted."""
    return [entry.source.resolve() for entry in mounts]


# --------------------------------------------------------------------
# The folders of one execution: filling them, their environments, what became of them.


# Folder of the data files, below the run's own.
DATA = "data"
# What runs import at their start if the task asks for it.
HOOKS = Path(__file__).resolve().parent / "seed_hook"
# What a run may see of the harness's own environment.  Everything else (tokens,
# proxies, user settings) stays out, so that runs are alike on every machine.
ALLOWED_VARIABLES = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
)


class Workspace(Frozen, dict=True):
    """The candidate's folder ``work``, and the evaluator's, which it cannot see.

    The data to evaluate on lie in neither; the evaluator gets their paths in the
    store.
    """

    spec: RunSpec
    store: Store
    kind: SandboxKind
    work: Path
    evaluator: Path

    def fill(self) -> None:
        """Make both folders; everything but the candidate's own files is read-only.

        Where data can be mounted they are not copied: an empty file takes their
        place.  A hard link would let a run that is root change the store.
        """
        self.remove()
        self.work.mkdir(parents=True)
        self._write_fixed(self.work)
        for name, content in self._seeded_sources().items():
            write_below(self.work / name, content)
        lay_out_caches(self.spec.mounts, self.work, self.kind)
        (self.work / DATA).mkdir(exist_ok=True)
        for name, path in self._data.items():
            place = self.work / DATA / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if self._mounts_data:
                place.touch()
            else:
                shutil.copyfile(path, place)
            place.chmod(0o444)
        if self.spec.evaluator:
            self.evaluator.mkdir()
            self._write_fixed(self.evaluator)

    def remove(self) -> None:
        """Remove both folders with all that is in them."""
        remove_run_folder(self.work)
        remove_run_folder(self.evaluator)

    @cached_property
    def sources(self) -> dict[str, bytes]:
        """The candidate's files as they were proposed."""
        return {name: self.store.get(sha) for name, sha in self.spec.sources.items()}

    def _seeded_sources(self) -> dict[str, bytes]:
        """The candidate's files, with the seed where the task has a constant for it."""
        constant = self.spec.seeding.constant
        found = dict(self.sources)
        for name, content in self.sources.items() if constant else ():
            text = content.decode("utf-8", errors="surrogateescape")
            new = replace_value(name, text, constant, self.spec.seed)
            if new is not None:
                found[name] = new.encode("utf-8", errors="surrogateescape")
        return found

    def _write_fixed(self, folder: Path) -> None:
        for name, sha in self.spec.fixed.items():
            write_below(folder / name, self.store.get(sha))
            (folder / name).chmod(0o444)

    @cached_property
    def _data(self) -> dict[str, Path]:
        """The run's data files in the store, verified once."""
        return {name: self.store.path(sha) for name, sha in self.spec.data.items()}

    @property
    def _mounts_data(self) -> bool:
        """Whether the run sees the store's own data, read-only, instead of copies."""
        mounting = self.kind is SandboxKind.CONTAINER and container.container_mounts_inputs()
        return self.kind is SandboxKind.BUBBLEWRAP or mounting

    def box(self) -> Box:
        """What the run gets of the machine."""
        spec, place = self.spec, self.work.resolve()
        prefixes = spec.python.prefixes if spec.python else ()
        return Box(
            work=place,
            fixed=[*(place / name for name in spec.fixed), place / DATA],
            mounts={
                **{place / DATA / name: path.resolve() for name, path in self._data.items()},
                **mounted_caches(spec.mounts, place),
            },
            readable=[
                *([HOOKS] if spec.seeding.hook else []),
                *map(Path, prefixes),
                *readable_caches(spec.mounts),
            ],
            hidden=package_paths(spec.hidden, prefixes),
            network=spec.network,
            gpu=spec.device == "gpu",
        )

    def environment(self) -> dict[str, str]:
        """The whole environment of the run: an allow-list and what the harness sets."""
        spec, place = self.spec, self.work.resolve()
        apart = self.kind is SandboxKind.CONTAINER
        if apart:
            place = path_inside(place)
        found = {
            # The machine's own places mean nothing there; the image has its own.
            **self._common(place, () if apart else ALLOWED_VARIABLES),
            "RATCHET_SEED": str(spec.seed),
            "RATCHET_DATA": str(place / DATA),
            **spec.seeding.variables(spec.seed),
        }
        if spec.budget_steps is not None:
            found["RATCHET_BUDGET_STEPS"] = str(spec.budget_steps)
        else:
            found["RATCHET_BUDGET_SECONDS"] = str(spec.budget_seconds)
        if spec.seeding.hook and not apart:
            found["PYTHONPATH"] = str(HOOKS)
        if self.kind is SandboxKind.LANDLOCK:
            # The machine's own /tmp is closed.
            found["TMPDIR"] = str(place)
        return found

    def evaluator_environment(self) -> dict[str, str]:
        """The evaluator's: where the data are, and how long it may wait for a reply."""
        spec = self.spec
        told = {
            key: {name: str(self.store.path(sha).resolve()) for name, sha in data.items()}
            for key, data in (("data", spec.evaluation_data), ("audit", spec.audit_data))
        }
        order = json.dumps({**told, "reply_seconds": spec.timeout_seconds})
        return {**self._common(self.evaluator.resolve()), "RATCHET_EVALUATION": order}

    def _common(
        self, home: Path, inherited: Sequence[str] = ALLOWED_VARIABLES
    ) -> Mapping[str, str]:
        return {
            **{name: os.environ[name] for name in inherited if name in os.environ},
            **self.spec.variables,
            **dict.fromkeys(THREAD_VARIABLES, str(self.spec.threads)),
            "HOME": str(home),
            "PYTHONHASHSEED": "0",
            "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def changed(self) -> str | None:
        """Name of a fixed file or data file that is not what it was before the run."""
        spec = self.spec
        folders = [self.work, *([self.evaluator] if spec.evaluator else [])]
        expected = [(folder, name, sha) for folder in folders for name, sha in spec.fixed.items()]
        if not self._mounts_data:
            expected += [(self.work, f"{DATA}/{name}", sha) for name, sha in spec.data.items()]
        for folder, name, sha in expected:
            # What a run left there may be a pipe, a device or endless; none is read.
            with contextlib.suppress(OSError, InputMissingError):
                found = (folder / name).lstat()
                size = self.store.paths.blob(sha).stat().st_size
                whole = stat.S_ISREG(found.st_mode) and found.st_size == size
                if whole and digest_file(folder / name) == sha:
                    continue
            return name
        return None


def write_below(path: Path, content: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def resolve_command(command: Sequence[str], python: Interpreter | None = None) -> list[str]:
    """``python`` in a task's command is the task's own interpreter, or the harness's."""
    program = python.executable if python else sys.executable
    return [program if word == "python" else word for word in command]
