"""A verdict with all that it rests on, before it is printed."""

from __future__ import annotations

from dataclasses import dataclass

from ratchet.cli.session import Candidate
from ratchet.vocabulary import Verdict

EXIT_KEEP = 0
EXIT_DISCARD = 1
EXIT_RETEST = 2


@dataclass(frozen=True)
class Answer:
    """The verdict on one candidate.

    ``value``, ``incumbent``, ``best`` (of the rows kept before), ``delta``
    (value minus incumbent), ``noise_sd`` and ``gain`` are in the metric's unit;
    the first four also in its own direction, while a positive gain is better.
    ``confidence`` is the probability that the candidate is truly better.
    ``threshold`` is the gain that the
    candidate's lines and memory must bring, ``memory_ratio`` candidate over
    incumbent.
    """

    candidate: Candidate
    verdict: Verdict
    reason: str
    rule: str
    confidence: float | None = None
    value: float | None = None
    incumbent: float | None = None
    incumbent_sd: float | None = None
    best: float | None = None
    delta: float | None = None
    gain: float | None = None
    noise_sd: float | None = None
    noise_interval: tuple[float, float] | None = None
    keep_probability: float | None = None
    efficiency: tuple[float, float] | None = None
    expected_false_keeps: float | None = None
    threshold: float | None = None
    confidence_at_threshold: float | None = None
    memory_ratio: float | None = None

    @property
    def exit_code(self) -> int:
        """0 keep, 2 retest, 1 all else."""
        if self.verdict is Verdict.RETEST:
            return EXIT_RETEST
        return EXIT_KEEP if self.verdict.is_keep else EXIT_DISCARD

    @property
    def pareto(self) -> str:
        """EFFICIENT, DOMINATED or, without memory in the log, UNKNOWN."""
        if self.efficiency is None:
            return "UNKNOWN"
        return "EFFICIENT" if self.efficiency[0] >= 0.5 else "DOMINATED"
