"""The default session beside the plain loop, with real training.

Both have the same edits in the same order and the same number of runs; runs of equal code
with equal seeds are made once.  The truth of both champions is measured by fresh seeds::

    PYTHONPATH=tests .venv-dev/bin/python tests/bench/default.py --sessions 10

Printed are, for each session: the runs, the edits that either kept, and the true gains; and
the median of the ratio of the true gains.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from helpers import BYTELM, REPO, player
from helpers.boxes import Box
from ratchet.records.events import Journal
from ratchet.records.history import History
from ratchet.records.records import Role
from ratchet.runs.executor import Executor
from ratchet.session import Session
from ratchet.steps.plan import make_plan
from ratchet.task.edits import applicable_changes, apply_declared

TRUTH = 500
"""Replicate number of the first run that measures the truth."""

Files = Mapping[str, str]


def edits(session: Session, history: History, files: Files) -> Iterator[str]:
    """The edits of the session in its order, then the declared ones that it did not reach."""
    seen = [trial.edit for trial in history.judged if trial.proposal.retry_of is None]
    rest = applicable_changes(session.task.search_space, session.texts(files))
    yield from [edit for edit in seen if edit is not None]
    yield from [each.label for each in rest if each.label not in seen]


def plain_loop(session: Session, history: History, budget: int) -> tuple[Files, list[str]]:
    """Champion and kept edits of keep-if-lower."""
    executor, files, kept = Executor(session), session.baseline_files, []
    best = session.value(executor.run(files, Role.SEARCH, 0))
    runs = 1
    for label in edits(session, history, files):
        if runs == budget:
            break
        idea = apply_declared(session.task.search_space, session.texts(files), label)
        if idea is None:
            continue
        candidate = session.put(idea.contents)
        run = executor.run(candidate, Role.SEARCH, 0)
        runs += 1
        if run.value is not None and session.value(run) < best:
            files, best = candidate, session.value(run)
            kept.append(label)
    return files, kept


def truth(session: Session, files: Files, seeds: int) -> float:
    """Mean metric over fresh seeds, lower being better."""
    runs = [Executor(session).run(files, Role.CONFIRM, TRUTH + n) for n in range(seeds)]
    return statistics.fmean(session.value(run) for run in runs)


def play(root: Path, seed: int, seeds: int, settings: dict[str, object]) -> float:
    """One session; the ratio of its true gain to that of the plain loop."""
    values: dict[str, object] = {
        "task": str(BYTELM),
        "rounds": 12,
        "budget_steps": None,
        "seeds": "public",
    }
    values |= {"seed": seed, **settings}
    box = Box(root, values)
    box.play(last="rounds")
    with player.inside(root, {}):
        plan = make_plan(
            player._parsed({"session": "default", "confirm_replicates": 2, **values}),
            Path(),
            REPO,
            owner=False,
        )
        session = Session.open(plan.config, Path(), REPO, Journal(plan.paths.events))
        history = History.read(plan.paths)
        budget = history.state.runs_used
        theirs, theirs_kept = plain_loop(session, history, budget)
        start = truth(session, session.baseline_files, seeds)
        ours = start - truth(session, history.state.incumbent.files, seeds)
        plain = start - truth(session, theirs, seeds)
        kept = [trial.edit for trial in history.kept]
        print(f"seed {seed}: {budget} runs")
        print(f"  Ratchet    true gain {ours:.4f}: {', '.join(map(str, kept))}")
        print(f"  plain loop true gain {plain:.4f}: {', '.join(theirs_kept)}", flush=True)
    return ours / plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--first", type=int, default=1, help="seed of the first session")
    parser.add_argument("--seeds", type=int, default=10, help="fresh seeds for the truth")
    parser.add_argument("--steps", type=int, help="a budget in steps in place of the task's own")
    options = parser.parse_args()
    settings: dict[str, object] = {}
    if options.steps is not None:
        settings["budget_steps"] = options.steps
    ratios = []
    for seed in range(options.first, options.first + options.sessions):
        with tempfile.TemporaryDirectory() as name:
            ratios.append(play(Path(name).resolve(), seed, options.seeds, settings))
    print(f"true gain over the plain loop's: {', '.join(f'{ratio:.3f}' for ratio in ratios)}")
    print(f"median {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
