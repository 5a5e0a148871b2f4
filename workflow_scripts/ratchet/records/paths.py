"""Every filename of a session; nobody else joins paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ratchet.base.structs import Frozen


class _Below:
    """A path below the folder of the object that it is an attribute of."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, owner: Any, kind: type | None = None) -> Path:
        path: Path = owner.folder / self.name
        return path


class SessionPaths(Frozen):
    """The files of one session under ``root``, the folder Snakemake runs in."""

    session: str
    root: Path = Path()

    manifest = _Below("manifest.json")
    # What its command lines gave beside config.yaml; a later call may change it.
    settings = _Below("settings.yaml")
    # Where a session goes on from another one's champion.
    start = _Below("start.json")
    # What the seeds of its runs are drawn with; the report publishes it.
    seed_secret = _Below("seed-secret")
    baseline = _Below("baseline.json")
    certification = _Below("certify.json")
    certification_plan = _Below("certify/plan.json")
    confirmation = _Below("confirm.json")
    transfer = _Below("transfer.json")
    transfer_plan = _Below("transfer/plan.json")
    results_tsv = _Below("results.tsv")
    events = _Below("events.jsonl")
    rounds = _Below("rounds")
    logs = _Below("logs")
    progress_log = _Below("progress.log")
    # The view for a browser while the session runs; every event writes it anew.
    live_html = _Below("live.html")
    # The session's row in the page of all sessions: JSON, and a view, so no `*.json` finds it.
    summary = _Below(".summary")
    progress_png = _Below("progress.png")
    progress_svg = _Below("progress.svg")
    report_html = _Below("report.html")
    report_json = _Below("report.json")
    # The session's own bare repository.  By this name `git clean` in an enclosing
    # checkout takes the folder for somebody else's and leaves it alone.
    repository = _Below(".git")
    # Digests of the session's own files, and the lock on writing them anew.
    seal = _Below("SHA256SUMS")
    seal_lock = _Below(".SHA256SUMS.lock")
    # What is to be reported to trackers, and the lock of the process that does it.
    tracking = _Below("trackers/order.json")
    tracking_lock = _Below("trackers/lock")
    # The same for its mirror; the lock on sending, and what this copy is known by there.
    mirroring = _Below("mirror/order.json")
    mirroring_lock = _Below("mirror/lock")
    mirror_lock = _Below("mirror/sending.lock")
    mirror_holder = _Below("mirror/holder")
    # Of a tournament: the confirmation of its champion, and what it was started with.
    champion = _Below("evolve/champion.json")
    tournament = _Below("evolve/settings.json")
    evolve_json = _Below("evolve.json")
    evolve_html = _Below("evolve.html")
    # Of an audit: what is to run again, and what `ratchet audit --run` was started with.
    rerun_plan = _Below("audit/plan.json")
    rerun_settings = _Below("audit/settings.json")
    audit_json = _Below("audit.json")
    audit_html = _Below("audit.html")
    # Where a competitor's incumbent is checked out unless told otherwise, and where
    # everything goes that was found there and is not of the history.
    worktree = _Below("worktree")
    from_worktree = _Below("from-worktree")
    # What `ratchet finalize` leaves: patches, and a journal of its own runs.
    patches = _Below("patches")
    final_events = _Below("finalize/events.jsonl")

    @property
    def folder(self) -> Path:
        return self.root / "results" / self.session

    def baseline_run(self, number: int) -> Path:
        """One run of the unchanged source."""
        return self.folder / "baseline" / f"run-{number}.json"

    def baseline_output(self, number: int) -> Path:
        """What a run of the baseline printed that failed; the store keeps none such."""
        return self.logs / "baseline" / f"run-{number}.output.log"

    def certify_run(self, number: int) -> Path:
        """One run of the certification."""
        return self.folder / "certify" / f"run-{number}.json"

    def confirm_run(self, number: int) -> Path:
        """One pair of runs of the confirmation."""
        return self.folder / "confirm" / f"run-{number}.json"

    def transfer_run(self, number: int) -> Path:
        """One pair of runs at another scale."""
        return self.folder / "transfer" / f"run-{number}.json"

    def tracked(self, tracker: str) -> Path:
        """Ids of the runs that a tracker has, a line each."""
        return self.folder / "trackers" / f"{tracker}.sent"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def benchmark(self, name: str) -> Path:
        return self.logs / f"{name}.tsv"

    def agent_log(self, number: int, slot: int, attempt: int) -> Path:
        """Output of an agent that was asked to fill a slot of a round."""
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
        """Record of a competitor after its leg of a round of the tournament."""
        return self.folder / "evolve" / f"{number:04d}" / f"leg-{competitor}.json"

    def pollination(self, number: int) -> Path:
        """Offers to the competitors after a round of the tournament."""
        return self.folder / "evolve" / f"{number:04d}" / "pollination.json"

    def rerun(self, turn: int, code: int) -> Path:
        """One code's run of one turn of an audit."""
        return self.folder / "audit" / f"{turn:04d}" / f"run-{code}.json"

    def round(self, number: int) -> RoundPaths:
        return RoundPaths(self.rounds / f"{number:04d}")

    @property
    def store(self) -> StorePaths:
        return StorePaths(self.root / "store")


class RoundPaths(Frozen):
    """The files of one round; round 0 holds what the baseline started."""

    folder: Path

    proposals = _Below("proposals.json")
    verdict = _Below("verdict.json")
    judge = _Below("judge.json")
    steer = _Below("steer.json")

    def asked(self, slot: int) -> Path:
        """What came of asking an agent to fill a slot of the round."""
        return self.folder / f"asked-{slot}.json"

    def experiment(self, candidate: int) -> Path:
        return self.folder / f"experiment-{candidate}.json"


class StorePaths(Frozen):
    """The content-addressed store, shared by all sessions of one folder."""

    root: Path

    # A small file for each key that is held, gone with its lock.
    locks = _Below("locks")
    # Where unfinished entries are made, on the same file system, and what is held while
    # such a folder is made, or while those of the dead are cleared.
    partial = _Below("partial")
    partial_lock = _Below("partial.lock")
    # Where entries go whose hash no longer fits; never deleted.
    damaged = _Below("damaged")

    @property
    def folder(self) -> Path:
        return self.root

    def blob(self, sha256: str) -> Path:
        return self.root / "blobs" / "sha256" / sha256[:2] / sha256

    @property
    def runs(self) -> Path:
        """Folder of all finished runs."""
        return self.root / "runs"

    def run(self, key: str) -> Path:
        return self.runs / key[:2] / key

    def tree(self, sha: str) -> Path:
        """The files of a commit of somebody's repository, by the hash of its tree."""
        return self.root / "trees" / sha[:2] / sha

    def environment(self, token: str) -> Path:
        """Packages that a task allows its candidates, as they are installed for one Python."""
        return self.root / "environments" / token[:2] / token

    def clone(self, token: str) -> Path:
        """A bare repository of ours with what was fetched from an address."""
        return self.root / "clones" / token

    @property
    def caches(self) -> Path:
        """Folder of what PyTorch compiled, by source and machine."""
        return self.root / "caches"

    def cache(self, key: str) -> Path:
        return self.caches / key[:2] / key

    def memo(self, kind: str, key: str) -> Path:
        return self.root / kind / key[:2] / f"{key}.json"


def index_page(root: Path) -> Path:
    """The page of all sessions below a folder."""
    return root / "results" / "index.html"


def session_name(tournament: str, competitor: str) -> str:
    """The session of a competitor of a tournament."""
    return f"{tournament}.{competitor}"
