"""Made-up trials and histories, with what a test does not name left at its plainest."""

from collections.abc import Sequence

from ratchet.base.structs import replace
from ratchet.records.history import History, Trial
from ratchet.records.proposals import Proposal, Proposals
from ratchet.records.records import (
    Baseline,
    Confirmation,
    Incumbent,
    Outcome,
    RoundVerdict,
    Ruling,
    RunSummary,
    SessionState,
    Verdict,
)

BASE = "source of the baseline"


def run(value: float | None = 1.0, reason: str = "", memory_mb: float | None = None) -> RunSummary:
    """A run that measured ``value``, or crashed if that is ``None``."""
    outcome = Outcome.CRASH if value is None else Outcome.OK
    return RunSummary(f"key {value}", 1, outcome, reason, value, memory_mb)


def proposal(number: int, category: str = "other", description: str = "d") -> Proposal:
    return Proposal(
        number=number,
        round=number,
        candidate=0,
        source=f"source {number}",
        parent=BASE,
        files={"train.py": f"file {number}"},
        category=category,
        description=description,
        hypothesis="h",
        diff="",
        lines_added=1,
        lines_removed=0,
        commit=f"commit {number}",
    )


def trial(
    number: int,
    category: str = "other",
    description: str = "d",
    verdict: Verdict | None = Verdict.DISCARD,
    *,
    mean: float | None = 1.0,
    delta: float | None = None,
    confidence: float | None = None,
    gain: float | None = None,
    memory_mb: float | None = None,
    reason: str = "",
) -> Trial:
    """A judged trial with one run, kept if its verdict says so; ``None``: not judged."""
    made = proposal(number, category, description)
    if verdict is None:
        return Trial(made)
    runs = (run(None if verdict is Verdict.CRASH else mean, reason, memory_mb),)
    ruling = Ruling(
        number=number,
        candidate=0,
        commit=made.commit,
        verdict=verdict,
        reason=reason,
        runs=runs,
        mean=None if verdict is Verdict.CRASH else mean,
        delta=delta,
        confidence=confidence,
        gain=gain,
        memory_mb=memory_mb,
    )
    return Trial(made, runs, ruling, kept=verdict.is_keep)


def history(
    trials: Sequence[Trial] = (),
    baseline: Sequence[float] = (3.0, 3.0, 3.0),
    noise_sd: float | None = 0.01,
    confirmation: Confirmation | None = None,
    **last: object,
) -> History:
    """A session of one trial a round; ``last`` are fields of its last state."""
    base = Baseline(BASE, {"train.py": "file 0"}, "commit 0", tuple(map(run, baseline)))
    mean = sum(baseline) / max(len(baseline), 1)
    held = Incumbent(0, BASE, base.files, base.commit, mean, mean, 0.1, None, 0)
    states = [SessionState(0, held, len(baseline))]
    proposals, verdicts = [], []
    for place, one in enumerate(trials, 1):
        made = replace(one.proposal, round=place)
        rulings = () if one.ruling is None else (one.ruling,)
        kept = one.number if one.kept else None
        proposals.append(Proposals(place, (made,)))
        verdicts.append(RoundVerdict(place, rulings, kept, noise_sd))
        if one.kept:
            assert one.mean is not None
            told = {"number": one.number, "measured": one.mean, "mean": one.mean}
            held = replace(held, **told, kept=held.kept + 1)
        states.append(replace(states[-1], round=place, incumbent=held))
    states[-1] = replace(states[-1], **last)  # type: ignore[arg-type]
    return History(base, tuple(proposals), tuple(verdicts), tuple(states), confirmation)
