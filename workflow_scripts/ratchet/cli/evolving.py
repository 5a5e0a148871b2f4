"""The commands of ``autoevolve`` that change something: run, init, pollinate, cleanup."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet import files, git, guard, strategies, tasks, worktrees
from ratchet.cli import settings, showing
from ratchet.cli.autoevolve import Output
from ratchet.errors import InputMissingError, RatchetError, UsageError
from ratchet.paths import SessionPaths
from ratchet.stages import leg
from ratchet.tournaments import Leg, Pollination, session_name

RELEASED = (
    "architecture-first",
    "hyperparams-first",
    "optimizer-first",
    "regularization-first",
    "efficiency-first",
    "radical",
)
"""Strategies in the order in which `init --agents` gives them out; others follow."""

EXIT_DECLINED = 1


class StoppedError(RatchetError):
    """Snakemake, which runs everything, ended early; its exit code is passed on."""

    def __init__(self, code: int) -> None:
        super().__init__(
            "the tournament is not at its end; the reason is above, the same command goes on"
        )
        self.exit_code = code


class Tournament:
    """A tournament by name, with the settings that it was started with."""

    def __init__(self, options: argparse.Namespace, new: Mapping[str, Any], known: bool) -> None:
        """``new`` settings come before those of the command line, and these before the saved.

        ``known`` says that there must be one already.
        """
        self.root: Path = options.root
        given = settings.overrides(options.config)
        tag = options.tag or given.get("session")
        if tag is None:
            tag = showing.find(self.root, options.config) if known else None
        if tag is not None:
            given["session"] = tag
        name = settings.read(self.root, [f"session={json.dumps(tag)}"] if tag else []).session
        self.paths = SessionPaths(name, self.root)
        self.saved: dict[str, Any] = {}
        if self.paths.tournament.exists():
            self.saved = files.read_json(self.paths.tournament)
        asked = {key: value for key, value in new.items() if value is not None}
        self.values = {**self.saved, **given, **asked, "session": name}
        self.harness = settings.harness(self.root)
        # Every mistake is named before anything is written.
        self.plan = guard.plan(self.values, self.root, self.harness, owner=False)

    def snakemake(self, targets: Sequence[str], gpus: int = 1) -> None:
        """Run the workflow to some targets; raises :class:`StoppedError`."""
        if gpus < 1:
            raise UsageError(f"--gpus: expected at least 1, found {gpus}")
        files.write_json(self.paths.tournament, self.values)
        pairs = [f"{key}={text(value)}" for key, value in sorted(self.values.items())]
        words = [sys.executable, "-m", "snakemake", "-s", str(self.harness.resolve() / "Snakefile")]
        words += ["--cores", str(max(gpus, 1)), "--resources", f"gpu={gpus}", "--quiet", "all"]
        words += ["--config", *pairs, "--", *targets]
        code = subprocess.run(words, cwd=self.root, stdout=sys.stderr, check=False).returncode
        if code:
            raise StoppedError(code)

    def target(self, path: Path) -> str:
        """A file as Snakemake knows it."""
        return str(path.relative_to(self.root))

    @property
    def last(self) -> int:
        """The last round that all competitors have played; raises if nobody has entered."""
        return showing.last_round(self.paths)


def text(value: Any) -> str:
    """A setting as Snakemake reads it after `--config KEY=`."""
    return value if isinstance(value, str) and value.isalnum() else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def run(options: argparse.Namespace, output: Output) -> int:
    """Play a tournament to its end; the leaderboard stands on standard output."""
    new = {
        "strategies": options.strategies,
        "evolve_rounds": options.rounds,
        "evolve_runs": options.runs,
        "pollination": options.pollination,
    }
    played = Tournament(options, new, known=False)
    played.snakemake(["evolve"], options.gpus)
    return showing.board(played.root, played.paths.session, output)


def init(options: argparse.Namespace, output: Output) -> int:
    """Set competitors up at the baseline."""
    names = options.strategies
    if names is None:
        names = _first(options)
    if options.tag is None:
        raise UsageError("init: expected --tag NAME for the tournament, found none")
    new = {"strategies": names, "worktrees": options.worktree_dir}
    made = Tournament(options, new, known=False)
    if made.saved and made.saved.get("strategies") != names:
        raise UsageError(
            f"{made.paths.tournament}: there is a tournament {options.tag!r} of "
            f"{', '.join(made.saved.get('strategies', []))}; choose another --tag"
        )
    if options.base_branch is not None:
        _check_branch(made, options.base_branch)
    count = len(made.plan.config.strategies)
    made.snakemake([made.target(made.paths.leg(0, index)) for index in range(count)])
    for name in [] if output.quiet else names:
        session = session_name(made.paths.session, name)
        place = leg.worktree(made.paths, made.plan.config.worktrees, session)
        print(f"{name:<22} branch ratchet/{session}  worktree {place}")
    print(f"run them: autoevolve --tag {made.paths.session} --rounds 3", file=sys.stderr)
    return 0


def _first(options: argparse.Namespace) -> list[str]:
    """So many strategies, the released tool's first."""
    harness = settings.harness(options.root)
    known = strategies.known(harness / "config", options.root / "config")
    order = [n for n in RELEASED if n in known] + [n for n in known if n not in RELEASED]
    if not 1 <= options.agents <= len(order):
        raise UsageError(
            f"--agents: expected 1 to {len(order)}, as many strategies as there are, found "
            f"{options.agents}"
        )
    return order[: options.agents]


def _check_branch(made: Tournament, branch: str) -> None:
    """Refuse files that are not the branch's: sessions start from what lies in the checkout."""
    defined = tasks.load(made.plan.config, made.root, made.harness)
    folder = defined.folder
    for name in defined.mutable:
        words = ("show", f"{branch}:./{name}", "--")
        shown = git.call(*words, within=defined.clone or folder)
        if shown.returncode:
            raise InputMissingError(f"--base-branch: {branch} has no file {folder / name}")
        if shown.stdout != (folder / name).read_bytes():
            raise UsageError(
                f"--base-branch: {folder / name} is not as in {branch}, and sessions start from "
                f"the files that lie there; commit or put them back, or: git switch {branch}"
            )


def pollinate(options: argparse.Namespace, output: Output) -> int:
    """Pass the wins so far on and have them re-tested, in one more round."""
    played = Tournament(options, {}, known=True)
    last = played.last
    if last == 0:
        raise UsageError(
            f"tournament {played.paths.session}: nobody has played yet; start it: autoevolve "
            f"--tag {played.paths.session} --rounds 1"
        )
    offers = played.paths.pollination(last)
    if options.dry_run:
        played.snakemake([played.target(offers)])
    else:
        played.values["evolve_rounds"] = last + 1
        played.snakemake(["evolve"], options.gpus)
    found = files.read_record(Pollination, offers)
    for queue in found.queues:
        for win in queue.wins:
            print(f"{win.origin} -> {queue.competitor}: {showing.shown(win.description)}")
    if not any(queue.wins for queue in found.queues):
        print("there is nothing to pass on", file=sys.stderr)
    return 0 if options.dry_run else showing.board(played.root, played.paths.session, output)


def cleanup(options: argparse.Namespace, output: Output) -> int:
    """Remove the worktrees; what is not of the history goes to the session's folder first."""
    played = Tournament(options, {}, known=True)
    legs = showing.legs(played.paths, 0)
    if not options.yes:
        if not sys.stdin.isatty():
            raise UsageError("cleanup: expected --yes where nobody can be asked")
        print(f"remove {len(legs)} worktrees (branches, results and store stay)? [y/N] ", end="")
        if input().strip().lower() not in ("y", "yes"):
            return EXIT_DECLINED
    # Nobody may be at work in them.
    guard.plan(played.values, played.root, played.harness, owner=True)
    if options.export_first:
        place = Path(f"evolve-{played.paths.session}-export.json")
        showing.write(played.root, played.paths.session, "json", str(place))
        print(f"exported to {place}", file=sys.stderr)
    for one in legs:
        _remove(played, one, output)
    return 0


def _remove(played: Tournament, one: Leg, output: Output) -> None:
    own = SessionPaths(one.session, played.root)
    place = leg.worktree(played.paths, played.plan.config.worktrees, one.session)
    there = place.exists()
    moved = worktrees.remove(own.repository, place, own.from_worktree)
    for name in moved:
        print(f"moved {showing.shown(name)} to {own.from_worktree}", file=sys.stderr)
    if there and not output.quiet:
        print(f"removed {place}")
