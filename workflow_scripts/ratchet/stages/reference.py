"""Further runs of the incumbent: to see whether it moved, and for the judge's tests."""

from __future__ import annotations

import math

from ratchet.codec import Struct, field
from ratchet.judge import Judge
from ratchet.records import Incumbent, Outcome, Remeasurement, RunSummary
from ratchet.seeds import Role
from ratchet.stages.session import Session

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

    The seeds depend on the round and on how many runs were made before in it,
    so that a replay finds the same ones.
    """

    session: Session
    judge: Judge
    incumbent: Incumbent
    round: int
    runs: list[RunSummary] = field(default_factory=list)

    def check(self) -> Remeasurement | None:
        """Run the incumbent once, if this round is one for it; the judge learns from it.

        How surprising the run is, is found before the judge knows of it.
        """
        every = self.session.config.remeasure_every
        if not every or self.round % every:
            return None
        run = self._run(self.round)
        mean, sd = self.judge.incumbent_mean, self.judge.incumbent_sd
        spread = math.hypot(sd, self.judge.noise_interval()[1])
        z = None
        if run.outcome is Outcome.OK:
            value = self.session.value(run)
            z = self.session.sign * (value - mean) / spread
            self.judge.incumbent(value)
        found = Remeasurement(
            number=self.incumbent.number,
            run=run,
            expected=self.session.sign * mean,
            sd=spread,
            z=z,
            alarm=z is not None and abs(z) > ALARM_SDS,
        )
        self.session.journal.append(
            "remeasured",
            round=self.round,
            number=found.number,
            value=run.value,
            outcome=run.outcome,
            expected=found.expected,
            sd=found.sd,
            z=found.z,
            alarm=found.alarm,
        )
        return found

    def supply(self) -> None:
        """Make the runs that the judge wants before its next assessment.

        After one that failed, or once the round's allowance is used up, it has
        to do with what it knows.
        """
        most = self.session.config.incumbent_runs
        while self.judge.incumbent_runs_wanted and len(self.runs) < most:
            if any(run.outcome is not Outcome.OK for run in self.runs):
                return
            run = self._run(ROUND_STRIDE * self.round + len(self.runs))
            self.runs.append(run)
            if run.outcome is Outcome.OK:
                self.judge.incumbent(self.session.value(run))

    def _run(self, replicate: int) -> RunSummary:
        held = self.incumbent
        name = f"incumbent, experiment {held.number}" if held.number else "incumbent, the baseline"
        return self.session.run(held.files, Role.REMEASURE, replicate, held.number, name)
