"""How many runs a session will make, and how long they will take, before it starts.

Known are the baseline, one run per experiment, checks of the incumbent and the
confirmation.  What the judge asks for beyond that depends on what will be found:
the bounds are from simulated sessions, and a session may be outside of them.
Runs are taken one after another; several GPUs share them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ratchet.codec import Frozen
from ratchet.evaluation import Plausible
from ratchet.status.pace import duration, median

MOST_RETESTS = 0.13
"""Runs beyond its first per experiment, on average over a session; the least is none.
Simulated sessions of 30 to 300 runs (modes gain, balanced and strict, noise sds of 2e-4
to 1e-3, worlds where much and where nothing improves) had 0.00 to 0.13."""

LEAST_CONFIRMING = 0.03
"""The same in mode guaranteed, runs of the incumbent included: where nothing improves,
hardly anything is tested."""

MOST_CONFIRMING, CONFIRMING_GROWTH = 2.5, 10.0
"""Where much improves, 2.5 per experiment in 8 experiments, 1.5 in 40, 0.5 in 200: not
more than 10 times the root of their number, since what improves is found early."""

HARNESS_SECONDS = 1.0
"""What the workflow adds to an experiment: 0.5 to 1.5 on two cores (``make bench``)."""

GUARANTEED = "guaranteed"


class Session(Frozen):
    """What is asked for; ``limit`` is the largest number of runs that is allowed."""

    rounds: int
    candidates: int
    baseline: int
    confirm: int
    mode: str
    most_per_candidate: int = 5
    remeasure_every: int = 0
    limit: int | None = None

    @property
    def experiments(self) -> int:
        return self.rounds * self.candidates

    def runs(self) -> tuple[int, int]:
        """Fewest and most runs that are to be expected."""
        known = self.baseline + self.experiments + 2 * self.confirm
        known += self.rounds // self.remeasure_every if self.remeasure_every else 0
        few, many = 0.0, MOST_RETESTS * self.experiments
        if self.mode == GUARANTEED:
            few = LEAST_CONFIRMING * self.experiments
            growth = CONFIRMING_GROWTH * math.sqrt(self.experiments)
            many = min(MOST_CONFIRMING * self.experiments, growth)
        elif self.most_per_candidate == 1:
            many = 0.0
        least, most = known + math.floor(few), known + math.ceil(many)
        if self.limit is not None:
            least, most = min(least, self.limit), min(most, self.limit)
        return least, most


class Pace(Frozen):
    """Seconds of one run, with everything around it; ``source`` says how they are known."""

    least: float
    most: float
    source: str


def pace(
    budget_seconds: float | None, plausible: Plausible | None, walls: Sequence[float] = ()
) -> Pace | None:
    """How long a run takes: as runs of this session did, else by its budget in seconds.

    ``walls`` are the wall-clock seconds of finished runs.  ``None`` for a budget in steps
    before one has run.
    """
    if walls:
        some = "run" if len(walls) == 1 else f"{len(walls)} runs"
        seconds = median(walls) + HARNESS_SECONDS
        return Pace(seconds, seconds, f"measured in {some} of this session")
    if budget_seconds is None:
        return None
    limits = plausible or Plausible()
    around = limits.startup_seconds + limits.evaluation_seconds
    return Pace(
        budget_seconds + HARNESS_SECONDS,
        budget_seconds + around + HARNESS_SECONDS,
        f"the budget, and up to {around:g} s to start and evaluate",
    )


class Outlook(Frozen):
    """A session's length; seconds are ``None`` while a run's are not known."""

    experiments: int
    least_runs: int
    most_runs: int
    least_seconds: float | None
    most_seconds: float | None
    source: str
    deadline_seconds: float
    agent_minutes: float | None = None

    @property
    def cut_short(self) -> bool:
        """Whether the time limit is sure to end it."""
        return self.least_seconds is not None and self.least_seconds > self.deadline_seconds

    @property
    def hours_needed(self) -> int:
        """A time limit, in whole hours, that is long enough."""
        return math.ceil((self.most_seconds or 0.0) / 3600)

    def sentence(self) -> str:
        """All of it in one line."""
        many = "experiment" if self.experiments == 1 else "experiments"
        runs = _range(str(self.least_runs), str(self.most_runs))
        text = f"{self.experiments} {many}, {runs} runs"
        if self.least_seconds is None or self.most_seconds is None:
            return f"{text}; {self.source}"
        length = _range(duration(self.least_seconds), duration(self.most_seconds))
        text = f"{text}, {length} one after another ({self.source})"
        if self.agent_minutes is not None:
            text += f"; and the agent's time, up to {self.agent_minutes:g} min each"
        return text


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def outlook(
    session: Session,
    found: Pace | None,
    deadline_seconds: float,
    agent_minutes: float | None = None,
) -> Outlook:
    """The length of a session whose runs take so long."""
    least, most = session.runs()
    return Outlook(
        experiments=session.experiments,
        least_runs=least,
        most_runs=most,
        least_seconds=None if found is None else least * found.least,
        most_seconds=None if found is None else most * found.most,
        source="the budget is in steps: their time is known once a run was made"
        if found is None
        else found.source,
        deadline_seconds=deadline_seconds,
        agent_minutes=agent_minutes,
    )
