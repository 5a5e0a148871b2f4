"""One candidate before the judge, and the record of what was ruled on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ratchet.codec import Struct
from ratchet.judge import Assessment, Efficiency
from ratchet.judge.front import Configuration, standing, status
from ratchet.records import Outcome, Proposal, Ruling, RunSummary, Verdict
from ratchet.stages.memory import mean_memory
from ratchet.stages.pricing import Tariff


class Case(Struct):
    """One candidate with all its runs so far; lower is better here.

    ``threshold`` is what it was last assessed at, ``incumbent`` what was then
    believed of the incumbent's metric.  ``memory_mb`` is what the session's ceiling
    is compared with, and ``too_large`` that a hard one refuses it; ``broken`` says which
    constraint of the task it breaks.  ``suspect`` says what its runs show beside the
    baseline's that cannot be believed.
    """

    proposal: Proposal
    runs: list[RunSummary]
    net_lines: int
    incumbent: float
    memory_ratio: float | None = None
    threshold: float = 0.0
    assessment: Assessment | None = None
    kept: bool = False
    refused: str = ""
    notes: tuple[str, ...] = ()
    changes: int | None = None
    quarantined: bool = False
    confirmed: bool = True
    memory_mb: float | None = None
    too_large: bool = False
    broken: str = ""
    suspect: str = ""

    @property
    def barred(self) -> bool:
        """Whether it can never be kept, whatever its metric is."""
        return self.too_large or bool(self.broken)

    @property
    def out(self) -> bool:
        """Whether there is nothing to assess: it was not run, or a run failed."""
        return bool(self.refused or self.suspect) or self.failed is not None

    @property
    def failed(self) -> RunSummary | None:
        """The run that gave no metric, if any did."""
        return next((run for run in self.runs if run.outcome is not Outcome.OK), None)

    @property
    def gain(self) -> float:
        return self.assessment.gain if self.assessment else 0.0

    @property
    def willing(self) -> bool:
        """Whether it would be kept if it were alone in its round."""
        found = self.assessment
        able = not self.out and not self.barred and self.confirmed
        return able and found is not None and found.keep

    @property
    def promising(self) -> bool:
        """Whether it is probably an improvement, be it enough for a keep or not."""
        found = self.assessment
        if self.out or self.barred or not self.confirmed or found is None:
            return False
        return found.keep or (found.confidence >= 0.5 and found.gain > 0)


def ruling(
    case: Case, sign: int, tariff: Tariff, kept_before: Sequence[Configuration], one_kept: bool
) -> Ruling:
    """The record of one case once its round is decided.

    ``sign`` turns lower-is-better back into the metric's own direction;
    ``one_kept`` tells whether any candidate of the round was kept.
    """
    failed, found = case.failed, case.assessment
    if case.out or found is None:
        bent = failed is not None and failed.outcome is Outcome.TAMPERED
        tampered = bool(case.refused or case.suspect) or bent
        return Ruling(
            number=case.proposal.number,
            candidate=case.proposal.candidate,
            commit=case.proposal.commit,
            verdict=Verdict.TAMPERED if tampered else Verdict.CRASH,
            reason=_out(case),
            runs=tuple(case.runs),
            incumbent=sign * case.incumbent,
            net_lines=case.net_lines,
            changes=case.changes,
            quarantined=case.quarantined,
            notes=case.notes,
        )
    memory = mean_memory(tuple(case.runs))
    # What can never be kept is no point of the front.
    bounds = None if case.barred else _standing(case, found, memory, kept_before)
    return Ruling(
        number=case.proposal.number,
        candidate=case.proposal.candidate,
        commit=case.proposal.commit,
        verdict=_verdict(case, found),
        reason=_reason(case, found, tariff),
        runs=tuple(case.runs),
        mean=sum(r.value for r in case.runs if r.value is not None) / len(case.runs),
        incumbent=sign * case.incumbent,
        delta=sign * found.delta,
        delta_sd=found.delta_sd,
        gain=found.gain,
        confidence=found.confidence,
        memory_mb=memory,
        price=found.threshold,
        net_lines=case.net_lines,
        changes=case.changes,
        memory_ratio=case.memory_ratio,
        pareto=status(bounds),
        pareto_low=bounds.low if bounds else None,
        pareto_high=bounds.high if bounds else None,
        near_miss=one_kept and not case.kept and case.promising,
        quarantined=case.quarantined,
        notes=case.notes,
    )


def _verdict(case: Case, found: Assessment) -> Verdict:
    if not case.confirmed or case.barred:
        return Verdict.DISCARD
    return Verdict.MARGINAL if found.keep and not case.kept else found.verdict


def _standing(
    case: Case, found: Assessment, memory: float | None, kept_before: Sequence[Configuration]
) -> Efficiency | None:
    """Bounds on P(efficient in metric and memory) of a candidate that was measured.

    Its mean is what the judge believes, freed from the luck of being chosen;
    the sd of its runs' mean is a little more than that belief's.
    """
    sd = found.noise_sd / math.sqrt(found.n)
    candidate = Configuration(case.incumbent - found.gain, sd, memory)
    return standing(candidate, found.confidence, kept_before)


def _out(case: Case) -> str:
    """Why a case was not assessed."""
    if case.refused:
        return f"not run: {case.refused}"
    return f"tampered: {case.suspect}" if case.suspect else _failure(case.failed)


def _failure(failed: RunSummary | None) -> str:
    if failed is None:
        return "gave no metric"
    return f"{failed.outcome.value.replace('_', ' ')}: {failed.reason}"


def _reason(case: Case, found: Assessment, tariff: Tariff) -> str:
    """One sentence: how far from the incumbent, in noise floors, at what price, how sure."""
    direction = "better" if found.delta < 0 else "worse"
    distance = f"{abs(found.delta):.4g} {direction} than the incumbent"
    floors = f"{abs(found.delta) / found.noise_sd:.1f} times the noise floor"
    count = "one run" if found.n == 1 else f"{found.n} runs"
    text = f"{distance} over {count} ({floors}); P(better) {found.confidence:.3f}"
    price = tariff.words(found.threshold, case.net_lines, case.memory_ratio)
    if price:
        kind = "beyond" if found.threshold > 0 else "within"
        text += f"; it {price}: P({kind} that) {found.confidence_at_threshold:.3f}"
    text += f", a keep needs {found.keep_probability:g}"
    if found.p_value is not None and found.level is not None and found.n > 1:
        text += f"; its fresh runs alone: p {found.p_value:.2g}, needed {found.level:.2g}"
    if case.quarantined:
        went = "a fresh run confirmed it" if case.confirmed else "a fresh run did not confirm it"
        text += f"; too large to be believed on one run, {went}"
    large = tariff.ceiling.reason(case.memory_mb)
    if large:
        text += f"; it {large}"
    if case.broken:
        text += f"; it breaks a constraint ({case.broken}), and cannot be kept"
    if found.keep and case.confirmed and not case.kept and not case.barred:
        text += "; another candidate of this round was better still"
    return text
