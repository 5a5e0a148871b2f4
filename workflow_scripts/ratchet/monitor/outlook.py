"""How long a session takes, and what must still follow the last experiment of its search.

Both rest on the same figures: the pace of a run, and the runs that close a session.  What a
search will find is not known before; simulated sessions tell what it may be.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence

from ratchet.base.structs import Frozen, replace
from ratchet.base.text import plural, spoken_duration
from ratchet.config import Config
from ratchet.judge.settings import certification_budget

HARNESS_SECONDS = 1.0
"""Time that the workflow adds to an experiment: 0.5 to 1.5 on two cores (``make bench``)."""

AROUND = 0.5
"""Part of the budget that starting and evaluating may take, while nothing was measured."""

REPORT_SECONDS = 20.0
"""Room for the report of a long session on two cores, whose figures are drawn once."""

FEW, MANY = 0.1, 0.9
"""Quantiles that bound what is to be expected."""

SDS = (-1.28, 0.0, 1.28)
"""Places in a normal distribution at these quantiles, and in its middle."""

LEAST_SPREAD = 0.05
"""Runs of one session differ by this share at the least: one run tells no spread."""

MARGIN_SDS = 2.0


class Pace(Frozen):
    """Seconds that a run of a session takes, and by how much (sd) these differ.

    Code that is new may be compiled before its first run: its ``warm_up`` comes on top.
    """

    mean: float
    sd: float
    runs: int
    warm_up: float = 0.0

    @classmethod
    def of(cls, walls: Sequence[float], warm_up: float = 0.0) -> "Pace | None":
        """The pace of runs that took so long; ``None`` of none."""
        if not walls:
            return None
        mean = statistics.fmean(walls)
        spread = statistics.stdev(walls) if len(walls) > 1 else 0.0
        return cls(mean, max(spread, LEAST_SPREAD * mean), len(walls), warm_up)

    def at_most(self, runs: float, new: int = 0) -> float:
        """Seconds of so many runs one after the other, with a margin; ``new`` are of new code."""
        margin = MARGIN_SDS * self.sd * math.sqrt(runs)
        return runs * (self.mean + HARNESS_SECONDS) + new * self.warm_up + margin


class Closing(Frozen):
    """Runs that follow the last experiment of a search.

    ``experiment`` are the most runs of one experiment, its first included.  The runs of
    ``certification`` are followed by one of the smaller champion.  ``confirmation`` and
    ``transfer`` count pairs; those at another scale take together as long as
    ``transfer_weight`` runs of the search.
    """

    experiment: int = 1
    certification: int = 0
    confirmation: int = 0
    transfer: int = 0
    transfer_weight: float = 0.0
    side_by_side: int = 1

    @classmethod
    def of(
        cls, config: Config, kept: int, used: int, weight: float, side_by_side: int
    ) -> "Closing":
        """What follows a search that has ``kept`` so many changes with the runs ``used``.

        What is kept by the experiment to come counts: with one more there are two to
        tell apart.
        """
        certified = min(certification_budget(used + 1), config.certification_runs)
        return cls(
            experiment=config.experiment_runs,
            certification=certified if kept else 0,
            confirmation=config.confirm_replicates,
            transfer=config.transfer_runs // 2,
            transfer_weight=weight,
            side_by_side=side_by_side,
        )

    @property
    def runs(self) -> int:
        """All runs but those of the experiment."""
        smaller = self.certification > 0
        return self.certification + smaller + 2 * (self.confirmation + self.transfer)

    @property
    def certifying(self) -> int:
        """Runs of the certification that follow each other."""
        return self._turns(self.certification) + (self.certification > 0)

    @property
    def confirming(self) -> float:
        """Runs after the certification that follow each other; nothing shortens them."""
        pairs = 2.0 * self._turns(self.confirmation)
        if self.transfer:
            pairs += self.transfer_weight * self._turns(self.transfer) / self.transfer
        return pairs

    @property
    def moving(self) -> int:
        """Sources that are new at another scale."""
        return 2 * (self.transfer > 0)

    def _turns(self, jobs: int) -> int:
        return math.ceil(jobs / max(self.side_by_side, 1))

    def after_experiment(self, pace: Pace) -> float:
        """Seconds that an experiment and all that follows it take at most.

        Retests come out of the certification's part, which can do with fewer runs.
        """
        runs = max(self.experiment, 1 + self.certifying) + self.confirming
        return pace.at_most(runs, 1 + self.certifying + self.moving) + REPORT_SECONDS

    def after_certification(self, pace: Pace, runs: int) -> float:
        """Seconds of so many runs of the certification, and of all that follows."""
        return pace.at_most(runs + self.confirming, runs + self.moving) + REPORT_SECONDS

    @property
    def names(self) -> str:
        """What the runs are for, in words."""
        parts = [
            *(["certification"] if self.certification else []),
            *(["confirmation"] if self.confirmation else []),
            *(["transfer"] if self.transfer else []),
        ]
        return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


class Shape(Frozen):
    """What a search may be like: further runs per experiment, and changes that it keeps."""

    further: float = 0.0
    kept: int = 0


class Timing(Frozen):
    """Seconds of a run: of code that is new, and of code that was run before.

    ``source`` says where they are from.  ``sd`` is by how much runs differ, ``doubt`` by how
    much their mean may be wrong.
    """

    new: float
    again: float
    sd: float
    doubt: float
    source: str
    measured: int = 0

    @classmethod
    def of_budget(cls, seconds: float) -> "Timing":
        """A guess before the first run."""
        around = AROUND * seconds
        mean = seconds + around / 2
        source = f"a guess: the budget, and up to {spoken_duration(around)} to start and evaluate"
        return cls(mean, mean, LEAST_SPREAD * mean, around / 2 / SDS[-1], source)

    @classmethod
    def of_runs(
        cls, new: Sequence[float], again: Sequence[float], where: str, budget: float | None
    ) -> "Timing | None":
        """That of runs that were made; ``None`` of none."""
        walls = [*new, *again]
        pace = Pace.of(walls)
        if pace is None:
            return None
        middle = statistics.median(walls)
        first, later = (statistics.median(each) if each else middle for each in (new, again))
        if min(len(new), len(again)) < LEAST_SIDE or first < COLD * later:
            first = later = middle
        some = plural(len(walls), "run")
        beside = middle - (budget or 0.0)
        about = "" if budget is None or beside < 0 else f", {beside:.1f} s beside the budget"
        if first != later:
            about += f"; new code {first:.0f} s, code that ran before {later:.0f} s"
        # A few odd ones must not make all of them doubtful.
        spread = statistics.median(abs(wall - middle) for wall in walls) * 1.48
        sd = max(spread, LEAST_SPREAD * middle)
        doubt = sd / math.sqrt(len(walls))
        return cls(first, later, sd, doubt, f"median of {some} {where}{about}", len(walls))

    def compiling(self, seconds: float) -> "Timing":
        """With a warm-up of so many seconds before the first run of code that is new."""
        if not seconds:
            return self
        source = f"{self.source}; compiling new code {seconds:.0f} s"
        return replace(self, new=self.new + seconds, source=source)


COLD = 1.1
"""Code that is new is told apart where its runs take so many times as long: it compiles."""

LEAST_SIDE = 3


class Done(Frozen):
    """What a session has done already: all of it is 0 before its start."""

    baseline: int = 0
    rounds: int = 0
    certification: int = 0
    confirmation: int = 0
    transfer: int = 0
    kept: int = 0
    further: int = 0
    used: int = 0
    ended: bool = False
    reported: bool = False


class Steps(Frozen):
    """Seconds of the steps that make no run, as the last session of this task took them."""

    prepare: float | None = None
    report: float | None = None

    def source(self, name: str) -> str:
        """Where the time of a step is from; empty of what is none."""
        if name == "prepare":
            unknown = self.prepare is None
            return "not known before the first" if unknown else "as the last session's"
        if name == "report":
            return "a guess" if self.report is None else "as the last session's"
        return ""


BESIDE = ("prepare", "agent", "report")
"""Parts without runs of their own."""


class Range(Frozen):
    """A figure with what bounds it in 8 of 10 cases."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Range":
        found = sorted(values)
        places = (FEW * (len(found) - 1), (len(found) - 1) / 2, MANY * (len(found) - 1))
        return cls(*(found[round(place)] for place in places))

    def shown(self, show: Callable[[float], str]) -> str:
        """The bounds, or the figure where they look alike."""
        low, high = show(self.low), show(self.high)
        return low if low == high else f"{low} to {high}"


class Part(Frozen):
    """One part of a session; ``each`` are the seconds of a run, ``None`` where none is made."""

    name: str
    runs: Range
    each: float | None
    seconds: Range | None
    source: str


class End(Frozen):
    """How a session ends in a share of the simulated cases."""

    limit: str
    share: float
    rounds: int


class Outlook(Frozen):
    """A session's length; seconds are ``None`` while a run's are not known.

    With ``deadline_seconds`` that are left, and ``ends``, the likeliest first.
    """

    experiments: int
    parts: Sequence[Part]
    runs: Range
    seconds: Range | None
    source: str
    deadline_seconds: float
    ends: Sequence[End]
    side_by_side: int = 1
    agent_minutes: float | None = None
    guard_seconds: float | None = None

    @property
    def cut_short(self) -> bool:
        """Whether the time limit is likely to end it before its last round."""
        return bool(self.ends) and self.ends[0].limit == DEADLINE

    @property
    def is_over(self) -> bool:
        """Whether nothing is left of it, not even its report."""
        return not self.runs.high and self.seconds is not None and not self.seconds.high

    def sentence(self) -> str:
        """Length of the session in one line."""
        if self.is_over:
            return OVER
        text = f"{plural(self.experiments, 'experiment')}, {self.runs.shown(_whole)} runs"
        if self.seconds is None:
            return f"{text}; {self.source}"
        order = "one after another" if self.side_by_side == 1 else f"{self.side_by_side} at once"
        length = self.seconds.shown(spoken_duration)
        text = f"{text}, {length} {order} ({self.source})"
        if self.agent_minutes is not None:
            text += f"; the agent's time is in it, up to {self.agent_minutes:g} min each"
        if self.guard_seconds is not None:
            text += f"; and the guard's, up to {self.guard_seconds:g} s each"
        return text


ROUNDS, MAX_RUNS, DEADLINE = "rounds", "max_runs", "deadline"
OVER = "it is at its end and nothing is left to do; more of a limit, such as rounds, goes on"
STEPS = "the budget is in steps: their time is known once a run was made"


def _whole(value: float) -> str:
    return f"{value:.0f}"


def session_outlook(
    config: Config,
    shapes: Sequence[Shape],
    timing: Timing | None,
    deadline_seconds: float,
    transfer_weight: float = 0.0,
    side_by_side: int = 1,
    done: Done | None = None,
    steps: Steps = Steps(),  # noqa: B008
) -> Outlook:
    """The length of a session, or of what is left of it, over all shapes and paces.

    Without a ``timing`` only its runs are known.
    """
    so_far = done or Done()
    cases = [
        _Case(
            config,
            shape,
            timing,
            sds,
            deadline_seconds,
            transfer_weight,
            side_by_side,
            so_far,
            steps,
        )
        for shape in shapes
        for sds in (SDS if timing else SDS[1:2])
    ]
    played = [case.play() for case in cases]
    names = dict.fromkeys(name for each in played for name in each.runs)
    parts = [
        Part(
            name,
            Range.of(each.runs[name] for each in played),
            None if timing is None else cases[0].each(name),
            None if timing is None else Range.of(each.seconds[name] for each in played),
            steps.source(name) or _SOURCES[name],
        )
        for name in names
    ]
    ends = [(each.limit, each.rounds) for each in played]
    told = sorted({limit for limit, _ in ends}, key=lambda x: -sum(e[0] == x for e in ends))
    return Outlook(
        experiments=0 if so_far.ended else (config.rounds - so_far.rounds) * config.candidates,
        parts=parts,
        runs=Range.of(sum(each.runs.values()) for each in played),
        seconds=None if timing is None else Range.of(sum(e.seconds.values()) for e in played),
        source=STEPS if timing is None else timing.source,
        deadline_seconds=deadline_seconds,
        ends=[
            End(
                limit,
                sum(e[0] == limit for e in ends) / len(ends),
                round(statistics.median(e[1] for e in ends if e[0] == limit)),
            )
            for limit in told
        ],
        side_by_side=side_by_side,
        agent_minutes=config.agent_minutes if config.agent else None,
    )


_SOURCES = {
    "baseline": "baseline_replicates",
    "experiments": "rounds x candidates",
    "retests": "simulated sessions",
    "checks": "remeasure_every",
    "certification": "where 2 are kept",
    "confirmation": "where any is kept",
    "transfer": "where any is kept",
    "agent": "half of agent_minutes",
}


class _Played(Frozen):
    """Runs and seconds of each part of one case, and what ended its search."""

    runs: dict[str, float]
    seconds: dict[str, float]
    limit: str
    rounds: int


class _Case(Frozen):
    """A session as it may be: a shape of its search, and a pace of its runs."""

    config: Config
    shape: Shape
    timing: Timing | None
    sds: float
    deadline: float
    transfer_weight: float
    side_by_side: int
    done: Done
    steps: Steps

    def each(self, name: str) -> float | None:
        """Seconds of a run of a part, the workflow's own beside it."""
        if self.timing is None or name in BESIDE:
            return None
        known = ("retests", "checks", "confirmation")
        return (self.timing.again if name in known else self.timing.new) + HARNESS_SECONDS

    def play(self) -> _Played:
        config, done = self.config, self.done
        left = 0 if done.ended else config.rounds - done.rounds
        rounds, limit = self._by_runs(left)
        if self.timing is not None:
            in_time = self._by_time(rounds)
            rounds, limit = (in_time, DEADLINE) if in_time < rounds else (rounds, limit)
        runs, turns = self._counts(rounds)
        seconds = self._seconds(runs, turns, rounds)
        return _Played(runs, seconds, limit, done.rounds + rounds)

    def _by_runs(self, left: int) -> tuple[int, str]:
        """Rounds that the allowed runs are enough for."""
        most = self.config.max_runs
        if most is None:
            return left, ROUNDS
        spent = self.done.used or self.config.baseline_replicates
        per_round = self.config.candidates * (1 + self.shape.further)
        room = most - spent - self.config.reserved_runs
        enough = max(0, math.floor((room - self.config.candidates) / per_round) + 1)
        return (enough, MAX_RUNS) if enough < left else (left, ROUNDS)

    def _by_time(self, rounds: int) -> int:
        """Rounds that may begin before the deadline: what must follow them has to fit."""
        few, many = 0, rounds
        while few < many:
            middle = (few + many + 1) // 2
            runs, turns = self._counts(middle)
            fits = sum(self._seconds(runs, turns, middle).values()) <= self.deadline
            few, many = (middle, many) if fits else (few, middle - 1)
        return few

    def _counts(self, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
        """Runs of each part, and how many lengths of a run they take one after the other."""
        config, done, beside = self.config, self.done, max(self.side_by_side, 1)
        experiments = rounds * config.candidates
        further = round(self.shape.further * experiments)
        checks, before = 0, done.rounds
        if config.remeasure_every:
            every = config.remeasure_every
            checks = (before + rounds) // every - before // every
        kept = done.kept
        if rounds:
            share = rounds / max(config.rounds, 1)
            kept += max(round(self.shape.kept * share), min(self.shape.kept, 1))
        baseline = max(config.baseline_replicates - done.baseline, 0)
        used = done.used + baseline + experiments + further + checks
        closing = Closing.of(
            config, min(kept, 1) and kept - 1, used - 1, self.transfer_weight, self.side_by_side
        )
        certified = max(closing.certification + (closing.certification > 0) - done.certification, 0)
        pairs = config.confirm_replicates if kept else 0
        scaled = config.transfer_runs if kept else 0
        confirmed, moved = max(2 * pairs - done.confirmation, 0), max(scaled - done.transfer, 0)
        runs: dict[str, float] = {
            "baseline": baseline,
            "experiments": experiments,
            "retests": further,
            **({"checks": checks} if config.remeasure_every else {}),
            **({"certification": certified} if config.certification_runs else {}),
            **({"confirmation": confirmed} if config.confirm_replicates else {}),
            **({"transfer": moved} if config.transfer_runs else {}),
        }
        turns = {
            **runs,
            "baseline": math.ceil(baseline / beside),
            "experiments": rounds * math.ceil(config.candidates / beside),
            "retests": further / min(config.candidates, beside),
            "certification": math.ceil(max(certified - 1, 0) / beside) + (certified > 0),
            "confirmation": 2 * math.ceil(math.ceil(confirmed / 2) / beside),
        }
        if moved:
            pairs = math.ceil(math.ceil(moved / 2) / beside)
            turns["transfer"] = 2 * pairs * self.transfer_weight / config.transfer_runs
        return runs, turns

    def _seconds(
        self, runs: dict[str, float], turns: dict[str, float], rounds: int
    ) -> dict[str, float]:
        timing = self.timing
        if timing is None:
            return dict.fromkeys(runs, 0.0)
        found = {}
        for name in runs:
            each, many = self.each(name) or 0.0, turns[name]
            around = math.hypot(many * timing.doubt, math.sqrt(many) * timing.sd)
            found[name] = max(0.0, many * each + self.sds * around)
        if not self.done.baseline:
            runs["prepare"], found["prepare"] = 0, self.steps.prepare or 0.0
        if self.config.agent:
            asked = 30.0 * self.config.agent_minutes * rounds
            # It thinks while the round before trains.
            beside = found["experiments"] if self.config.ahead else 0.0
            runs["agent"], found["agent"] = 0, max(0.0, asked - beside)
        # A report that is there is made again where any run follows it.
        is_due = any(runs.values()) or not self.done.reported
        runs["report"] = 0
        found["report"] = (self.steps.report or REPORT_SECONDS) if is_due else 0.0
        return found
