"""Every filename of a session; nobody else joins paths."""

from __future__ import annotations

from pathlib import Path

from ratchet.base.structs import Frozen

# --------------------------------------------------------------------
# Every filename of a session has its owner here; nobody else joins paths.


class SessionPaths(Frozen):
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
    def live_html(self) -> Path:
        """The view for a browser while the session runs; made anew by every event."""
        return self.folder / "live.html"

    @property
    def progress_png(self) -> Path:
        return self.folder / "progress.png"

    @property
    def progress_svg(self) -> Path:
        return self.folder / "progress.svg"

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
    def seal_lock(self) -> Path:
        """Held while the seal is written anew."""
        return self.folder / ".SHA256SUMS.lock"

    def baseline_run(self, number: int) -> Path:
        """One run of the unchanged source."""
        return self.folder / "baseline" / f"run-{number}.json"

    def confirm_run(self, number: int) -> Path:
        """One pair of runs of the confirmation."""
        return self.folder / "confirm" / f"run-{number}.json"

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

    def agent_log(self, number: int, slot: int, attempt: int) -> Path:
        """What an agent printed when it was asked to fill a slot of a round."""
        return self.logs / f"{number:04d}" / f"agent-{slot}-{attempt}.log"

    def limits(self, number: int, token: str) -> Path:
        """The limits in force since they were changed for the ``number``-th time."""
        return self.folder / "limits" / f"{number:04d}-{token}.json"

    def known_limits(self) -> list[tuple[int, str]]:
        """Numbers and tokens of all limits so far, in order."""
        names = sorted(path.stem for path in (self.folder / "limits").glob("[0-9]*-*.json"))
        return [(int(name[:4]), name[5:]) for name in names]

    def offer(self, number: int) -> Path:
        """The edit that a person put forward for a round."""
        return self.folder / "offers" / f"{number:04d}.json"

    @property
    def last_offer(self) -> int:
        """The last round that a person put an edit forward for; 0 for none."""
        names = [path.stem for path in (self.folder / "offers").glob("[0-9]*.json")]
        return max((int(name) for name in names if name.isdigit()), default=0)

    def leg(self, number: int, competitor: int) -> Path:
        """Where a competitor stands after its leg of a round of the tournament."""
        return self.folder / "evolve" / f"{number:04d}" / f"leg-{competitor}.json"

    def pollination(self, number: int) -> Path:
        """What the competitors are offered after a round of the tournament."""
        return self.folder / "evolve" / f"{number:04d}" / "pollination.json"

    @property
    def champion(self) -> Path:
        """The confirmation of the tournament's champion."""
        return self.folder / "evolve" / "champion.json"

    @property
    def tournament(self) -> Path:
        """The settings that `autoevolve` was started with."""
        return self.folder / "evolve" / "settings.json"

    @property
    def evolve_json(self) -> Path:
        return self.folder / "evolve.json"

    @property
    def evolve_html(self) -> Path:
        return self.folder / "evolve.html"

    @property
    def rerun_plan(self) -> Path:
        """What an audit is to run again."""
        return self.folder / "audit" / "plan.json"

    @property
    def rerun_settings(self) -> Path:
        """The settings that `ratchet audit --run` was started with."""
        return self.folder / "audit" / "settings.json"

    def rerun(self, turn: int, code: int) -> Path:
        """One code's run of one turn of an audit."""
        return self.folder / "audit" / f"{turn:04d}" / f"run-{code}.json"

    @property
    def audit_json(self) -> Path:
        return self.folder / "audit.json"

    @property
    def audit_html(self) -> Path:
        return self.folder / "audit.html"

    @property
    def worktree(self) -> Path:
        """Where a competitor's incumbent is checked out, unless told otherwise."""
        return self.folder / "worktree"

    @property
    def from_worktree(self) -> Path:
        """Where everything goes that was found in a worktree and is not of the history."""
        return self.folder / "from-worktree"

    def round(self, number: int) -> RoundPaths:
        return RoundPaths(self.rounds / f"{number:04d}")

    @property
    def store(self) -> StorePaths:
        return StorePaths(self.root / "store")


class RoundPaths(Frozen):
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


class StorePaths(Frozen):
    """The content-addressed store, shared by all sessions of one folder."""

    root: Path

    def blob(self, sha256: str) -> Path:
        return self.root / "blobs" / "sha256" / sha256[:2] / sha256

    def run(self, key: str) -> Path:
        return self.root / "runs" / key[:2] / key

    def tree(self, sha: str) -> Path:
        """The files of a commit of somebody's repository, by the hash of its tree."""
        return self.root / "trees" / sha[:2] / sha

    def clone(self, token: str) -> Path:
        """A bare repository of ours with what was fetched from an address."""
        return self.root / "clones" / token

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
    def partial_lock(self) -> Path:
        """Held while such a folder is made, or while those of the dead are cleared."""
        return self.root / "partial.lock"

    @property
    def damaged(self) -> Path:
        """Where entries go whose hash no longer fits; never deleted."""
        return self.root / "damaged"


# --------------------------------------------------------------------
# Records of a tournament: legs, wins, and what became of them elsewhere.
#
# Each competitor is a session of its own; a leg is its share of one round of the
# tournament.  No record holds a time of day, so that equal tournaments have equal
# bytes.


def session_name(tournament: str, competitor: str) -> str:
    """The session of a competitor."""
    return f"{tournament}.{competitor}"
