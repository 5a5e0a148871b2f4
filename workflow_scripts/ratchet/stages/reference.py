"""Further runs of the incumbent: to see whether it moved, and for the judge's tests."""

from __future__ import annotations

import math

from ratchet.codec import Struct, field
from ratchet.executor import Executor
from ratchet.judge import Judge
from ratchet.records import Incumbent, Outcome, Remeasurement, RunSummary
from ratchet.seeds import Role
from ratchet.session import Session

ALARM_SDS = 3.0
"""A run further than this from what was expected raises the alarm.

The sds count with the noise floor at the upper end of its 90 % interval, since the
few runs of a session tell little about it.  In simulated sessions 0.3 to 1.5 % of
the checks of an incumbent that did not move raise the alarm (5 % after a baseline
of two runs), and 60 to 100 % of those that moved by ten noise floors.  With the
noise floor itself 2 to 12 % of the checks would be false alarms."""

ROUND_STRIDE = 10_000
"""Replicate numbers of runs that the judge asks for start at this times the round;
those below, as many as there can be rounds, belong to the regular checks."""


class Reference(Struct):
    """The incumbent of one round, to be run again.

    The seeds depend on the round and on how many runs a candidate has had before in
    it.  So a replay finds the same ones, and so do the round's other candidates:
    whoever is first makes a run, the others wait for it and share it.
    """

    session: Session
    incumbent: Incumbent
    round: int
    runs: list[RunSummary] = field(default_factory=list)

    def check(self) -> RunSummary | None:
        """The regular run of the incumbent, if this round is one for it."""
        every = self.session.config.remeasure_every
        return self._run(self.round) if every and self.round % every == 0 else None

    def learn(self, judge: Judge, run: RunSummary) -> Remeasurement:
        """Tell the judge of a regular run; how surprising it was before that."""
        session = self.session
        mean, sd = judge.incumbent_mean, judge.incumbent_sd
        spread = math.hypot(sd, judge.noise_interval()[1])
        z = None
        if run.outcome is Outcome.OK:
            value = session.value(run)
            z = session.sign * (value - mean) / spread
            judge.incumbent(value)
        return Remeasurement(
            number=self.incumbent.number,
            run=run,
            expected=session.sign * mean,
            sd=spread,
            z=z,
            alarm=z is not None and abs(z) > ALARM_SDS,
        )

    def supply(self, judge: Judge) -> None:
        """Make the runs that the judge wants before its next assessment.

        After one that failed, or once the round's allowance is used up, it has
        to do with what it knows.
        """
        most = self.session.config.incumbent_runs
        while judge.incumbent_runs_wanted and len(self.runs) < most:
            if any(run.outcome is not Outcome.OK for run in self.runs):
                return
            run = self._run(ROUND_STRIDE * self.round + len(self.runs))
            self.runs.append(run)
            if run.outcome is Outcome.OK:
                judge.incumbent(self.session.value(run))

    def _run(self, replicate: int) -> RunSummary:
        held = self.incumbent
        name = f"incumbent, experiment {held.number}" if held.number else "incumbent, the baseline"
        return Executor(self.session).run(held.files, Role.REMEASURE, replicate, held.number, name)
