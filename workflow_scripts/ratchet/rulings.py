"""Records of judging: runs as decisions see them, rulings, the verdict of a round.

Read through :mod:`ratchet.records`, whose rules hold here too.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratchet.codec import Frozen
from ratchet.vocabulary import Outcome, StopReason, Verdict


class RunSummary(Frozen):
    """The part of one finished run that decisions may rest on.

    ``value`` is the metric as the task prints it, in the metric's own unit and
    direction; ``memory_mb`` is what the task reports, not what was sampled.
    ``audit`` is the metric on the locked data, where a run was measured on them.
    """

    key: str
    seed: int
    outcome: Outcome
    reason: str
    value: float | None
    memory_mb: float | None
    audit: float | None = None


class Ruling(Frozen):
    """The verdict on one experiment with everything it rests on.

    ``delta`` is mean minus incumbent in the metric's own direction and unit;
    ``gain`` and ``confidence`` are the posterior expectation of the true
    improvement (positive is better, whatever the direction) and the
    probability that there is one.

    ``price`` is the gain that the change had to exceed, in the metric's unit:
    above 0 for the ``net_lines`` of code and the memory that it adds
    (``memory_ratio`` is candidate over incumbent), below 0 for what it saves.
    ``changes`` counts the constants and definitions that the edit touches: with
    more than one, the effect cannot be attributed to any.
    ``pareto`` is EFFICIENT or DOMINATED among the configurations kept before,
    and ``pareto_low`` and ``pareto_high`` bound the probability that none of
    them is better without needing more memory.  ``near_miss`` marks a probable
    improvement that was not kept because another candidate of its round was.
    ``quarantined`` is one so large that a fresh run had to confirm it, and
    ``notes`` are findings in the edit that decide nothing.
    """

    number: int
    candidate: int
    commit: str
    verdict: Verdict
    reason: str
    runs: tuple[RunSummary, ...]
    mean: float | None = None
    incumbent: float | None = None
    delta: float | None = None
    delta_sd: float | None = None
    gain: float | None = None
    confidence: float | None = None
    memory_mb: float | None = None
    price: float | None = None
    net_lines: int | None = None
    changes: int | None = None
    memory_ratio: float | None = None
    pareto: str | None = None
    pareto_low: float | None = None
    pareto_high: float | None = None
    near_miss: bool = False
    quarantined: bool = False
    notes: tuple[str, ...] = ()


class Remeasurement(Frozen):
    """A further run of the incumbent, to see whether it is still what it was.

    ``expected`` and ``sd`` are what the judge believed of its metric before,
    in the metric's own unit and direction; ``sd`` includes the noise of one
    run, at the upper end of its interval.  ``z`` is the surprise in such sds,
    ``None`` if the run failed.
    """

    number: int
    run: RunSummary
    expected: float
    sd: float
    z: float | None = None
    alarm: bool = False


class RoundVerdict(Frozen):
    """The rulings of one round, the noise floor and what is known after it.

    ``kept`` is the number of the kept experiment; ``incumbent_mean`` and
    ``incumbent_sd`` are the judge's posterior for the incumbent's true metric
    after the round.  ``remeasured`` is the check of the incumbent before the
    round, ``incumbent_runs`` are those that the judge asked for in it.

    Sums over the session up to here: ``credit_used``, what simplifications
    were allowed to cost in the metric's unit; ``expected_false_keeps``; and
    ``error_spent``, the part of the bound on false keeps that tests have used
    up (``None`` in a mode without such a bound).
    """

    round: int
    rulings: tuple[Ruling, ...] = ()
    kept: int | None = None
    noise_sd: float | None = None
    noise_low: float | None = None
    noise_high: float | None = None
    incumbent_mean: float | None = None
    incumbent_sd: float | None = None
    runs_used: int = 0
    stop: StopReason | None = None
    detail: str = ""
    remeasured: Remeasurement | None = None
    incumbent_runs: tuple[RunSummary, ...] = ()
    credit_used: float = 0.0
    expected_false_keeps: float | None = None
    error_spent: float | None = None


def incumbent_runs(verdict: RoundVerdict) -> tuple[RunSummary, ...]:
    """Every further run of the incumbent that a round made."""
    check = (verdict.remeasured.run,) if verdict.remeasured else ()
    return (*check, *verdict.incumbent_runs)


def mean_memory(runs: Sequence[RunSummary]) -> float | None:
    """Mean of the memory that runs reported, in MiB."""
    known = [run.memory_mb for run in runs if run.memory_mb is not None]
    return sum(known) / len(known) if known else None
