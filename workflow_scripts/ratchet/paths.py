"""Every filename of a session has its owner here; nobody else joins paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SessionPaths:
    """The files of one session under ``root``, the folder Snakemake runs in."""

    session: str
    root: Path = Path()

    @property
    def folder(self) -> Path:
        return self.root / "results" / self.session

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    @property
    def baseline(self) -> Path:
        return self.folder / "baseline.json"

    @property
    def confirmation(self) -> Path:
        return self.folder / "confirm.json"

    @property
    def results_tsv(self) -> Path:
        return self.folder / "results.tsv"

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def progress_log(self) -> Path:
        return self.folder / "progress.log"

    @property
    def progress_png(self) -> Path:
        return self.folder / "progress.png"

    @property
    def report_html(self) -> Path:
        return self.folder / "report.html"

    @property
    def report_json(self) -> Path:
        return self.folder / "report.json"

    @property
    def repository(self) -> Path:
        """The session's own bare repository.

        It is called ``.git`` so that ``git clean`` in an enclosing checkout
        takes the folder for somebody else's and leaves it alone.
        """
        return self.folder / ".git"

    @property
    def seal(self) -> Path:
        """Digests of the session's own files."""
        return self.folder / "SHA256SUMS"

    @property
    def rounds(self) -> Path:
        return self.folder / "rounds"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def benchmark(self, name: str) -> Path:
        return self.logs / f"{name}.tsv"

    def limits(self, number: int, token: str) -> Path:
        """The limits in force since they were changed for the ``number``-th time."""
        return self.folder / "limits" / f"{number:04d}-{token}.json"

    def known_limits(self) -> list[tuple[int, str]]:
        """Numbers and tokens of all limits so far, in order."""
        names = sorted(path.stem for path in (self.folder / "limits").glob("[0-9]*-*.json"))
        return [(int(name[:4]), name[5:]) for name in names]

    def round(self, number: int) -> RoundPaths:
        return RoundPaths(self.rounds / f"{number:04d}")

    @property
    def store(self) -> StorePaths:
        return StorePaths(self.root / "store")


@dataclass(frozen=True)
class RoundPaths:
    """The files of one round; round 0 holds what the baseline started."""

    folder: Path

    @property
    def proposals(self) -> Path:
        return self.folder / "proposals.json"

    def experiment(self, candidate: int) -> Path:
        return self.folder / f"experiment-{candidate}.json"

    @property
    def verdict(self) -> Path:
        return self.folder / "verdict.json"

    @property
    def judge(self) -> Path:
        return self.folder / "judge.json"

    @property
    def steer(self) -> Path:
        return self.folder / "steer.json"


@dataclass(frozen=True)
class StorePaths:
    """The content-addressed store, shared by all sessions of one folder."""

    root: Path

    def blob(self, sha256: str) -> Path:
        return self.root / "blobs" / "sha256" / sha256[:2] / sha256

    def run(self, key: str) -> Path:
        return self.root / "runs" / key[:2] / key

    def memo(self, kind: str, key: str) -> Path:
        return self.root / kind / key[:2] / f"{key}.json"

    @property
    def lock(self) -> Path:
        """One file; every key has a byte of its own in it to be locked."""
        return self.root / "lock"

    @property
    def partial(self) -> Path:
        """Where unfinished entries are made; on the same file system."""
        return self.root / "partial"

    @property
    def damaged(self) -> Path:
        """Where entries go whose hash no longer fits; never deleted."""
        return self.root / "damaged"
