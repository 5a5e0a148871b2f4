"""Points of a space of constants, proposed by the optimisers of Optuna.

A study is made anew from the session's records for each proposal, so that a session that
was killed, replayed or extended is proposed the same.  Runs that failed, or that break a
constraint of the task, have no number: TPE ranks them behind all others, CMA-ES draws
another point for them.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from ratchet.base.io import digest
from ratchet.base.structs import Frozen
from ratchet.base.text import plural
from ratchet.config import Strategy
from ratchet.proposers.space import (
    Point,
    Space,
    nearest_choice,
    nth_power,
    task_space,
    without_values,
)
from ratchet.records.history import History, Trial
from ratchet.records.proposals import CMAES, POINT, RANDOM, TPE, Edit, Proposal
from ratchet.records.records import Verdict
from ratchet.session import Session
from ratchet.task.edits import Idea
from ratchet.task.task import Range, broken_constraint, power_bounds, whole_bounds

if TYPE_CHECKING:  # a second to import, for the step alone that proposes by it
    import optuna

REDRAWS = 50
"""So often another point is drawn where one was measured before."""

LISTED = 4096
"""Points of a space that are listed to find the last ones that were not measured."""

STARTUP = 10
"""Measured points before which TPE draws at random, as Optuna has it by default."""


Contents = Mapping[str, str]
"""Texts of the mutable files, by name."""


class Measured(Frozen):
    """A point that was tried, by whom, and what came of it.

    ``value`` is the mean metric of the runs that it was judged by, lower being better;
    ``None`` for one that failed, or whose runs are not yet made (``waiting``).
    ``memory_mb`` is what it needed.
    """

    number: int
    point: Mapping[str, Any]
    value: float | None
    memory_mb: float | None = None
    waiting: bool = False


class Search(Frozen):
    """Search of a space: the point to go on from, and what was measured, in order.

    CMA-ES goes out from ``origin``, the point where it began, for as long as it goes on.  A
    point that needs more than ``ceiling_mb`` of memory is no solution.
    """

    space: Space
    start: Point
    origin: Point
    measured: Sequence[Measured]
    ceiling_mb: float | None = None

    def next_point(self, optimizer: str, seed: int) -> Point | None:
        """A point that was not measured, by ``tpe``, ``cmaes`` or ``random``; ``None`` if all were.

        The same search and seed give the same point.
        """
        if not self.start:
            return None
        with _quiet():
            if optimizer == CMAES:
                point = self._by_generations(seed)
            else:
                point = self._by_density(optimizer, seed)
            return self._left(seed) if point is None else point

    @property
    def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """Optuna's distribution of each constant that the start has."""
        ranges = {each.name: each.range for each in self.space.constants}
        return {name: _distribution(limits) for name in self.start if (limits := ranges[name])}

    def _by_density(self, optimizer: str, seed: int) -> Point | None:
        import optuna

        study = optuna.create_study()
        for each in self.measured:
            study.add_trial(self._trial(each))
        taken = [dict(each.point) for each in self.measured]
        for again in range(REDRAWS):
            own = (seed + again) % 2**32
            study.sampler = (
                optuna.samplers.RandomSampler(seed=own)
                if optimizer == RANDOM
                else optuna.samplers.TPESampler(seed=own, n_startup_trials=STARTUP)
            )
            trial = study.ask(self.distributions)
            point = self._decoded(trial.params)
            if point not in taken:
                return point
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return None

    def _left(self, seed: int) -> Point | None:
        """One of the last points of a small space, by chance; ``None`` for a large one."""
        counts = {name: _count(each) for name, each in self.distributions.items()}
        if not all(counts.values()) or math.prod(counts.values()) > LISTED:
            return None
        taken = {_identity(each.point) for each in self.measured}
        values = [[*_values(each)] for each in self.distributions.values()]
        points = (
            self._decoded(dict(zip(self.distributions, each, strict=True)))
            for each in itertools.product(*values)
        )
        left = {_identity(point): point for point in points}
        names = sorted(left.keys() - taken)
        return left[Random(seed).choice(names)] if names else None

    def _by_generations(self, seed: int) -> Point | None:
        """CMA-ES asks again for all that it was told, and then for one point more."""
        import optuna

        study = optuna.create_study(
            sampler=optuna.samplers.CmaEsSampler(
                x0=self._encoded(self.origin),
                seed=seed % 2**32,
                with_margin=True,
                warn_independent_sampling=False,
            )
        )
        by_point: dict[str, Measured] = {}
        for each in self.measured:
            by_point.setdefault(_identity(each.point), each)
        # Optuna draws the first point by chance where it knows none.
        some = next((each for each in self.measured if each.value is not None), None)
        if some is not None:
            study.add_trial(self._trial(some))
        for _ in range(len(self.measured) + REDRAWS):
            trial = study.ask(self.distributions)
            point = self._decoded(trial.params)
            known = by_point.get(_identity(point))
            if known is None:
                return point
            if known.value is None or self._excess(known) > 0:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, known.value)
        return None

    def _trial(self, each: Measured) -> optuna.trial.FrozenTrial:
        import optuna

        state = optuna.trial.TrialState.COMPLETE
        if each.waiting:
            state = optuna.trial.TrialState.RUNNING
        elif each.value is None:
            state = optuna.trial.TrialState.PRUNED
        excess = self._excess(each)
        return optuna.trial.create_trial(
            state=state,
            value=each.value,
            params=self._encoded(each.point),
            distributions=self.distributions,
            constraints={"memory": excess} if excess > 0 else None,
        )

    def _excess(self, each: Measured) -> float:
        """Part of the memory ceiling by which a point is above it."""
        if self.ceiling_mb is None or each.memory_mb is None:
            return 0.0
        return max(0.0, each.memory_mb / self.ceiling_mb - 1.0)

    def _encoded(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """A point in Optuna's parameters, moved into the ranges."""
        ranges = {each.name: each.range for each in self.space.constants}
        fitted = self.space.fitted(dict(point))
        return {name: _encode(ranges[name], fitted[name]) for name in self.start}

    def _decoded(self, parameters: Mapping[str, Any]) -> Point:
        ranges = {each.name: each.range for each in self.space.constants}
        point = {name: _decode(ranges[name], value) for name, value in parameters.items()}
        return self.space.fitted(point)


def _identity(point: Mapping[str, Any]) -> str:
    """Name of a point; 1 and 1.0 are one, as a list and a tuple are."""
    return digest({name: _plain(value) for name, value in point.items()})


def _plain(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return repr(int(value))
    return repr(list(value) if isinstance(value, tuple) else value)


def _count(distribution: optuna.distributions.BaseDistribution) -> int:
    """Number of values of a distribution; 0 for a continuous one."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return distribution.high - distribution.low + 1
    return 0


def _values(distribution: optuna.distributions.BaseDistribution) -> Iterable[Any]:
    """Values of a distribution that is not continuous."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, IntDistribution)
    return range(distribution.low, distribution.high + 1)


def _step(limits: Range) -> int | None:
    """Step of a range of multiples of a number, which is searched in steps."""
    return limits.multiple_of if isinstance(limits.multiple_of, int) else None


def _distribution(limits: Range) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if limits.choices:
        return CategoricalDistribution(tuple(limits.choices))
    if limits.power_of is not None:
        return IntDistribution(*power_bounds(limits))
    step = _step(limits)
    if step is not None:
        low, high = math.ceil(limits.low / step), math.floor(limits.high / step)
        return IntDistribution(low, high, log=limits.log)
    if limits.whole:
        return IntDistribution(*whole_bounds(limits), log=limits.log)
    return FloatDistribution(limits.low, limits.high, log=limits.log)


def _encode(limits: Range | None, value: Any) -> Any:
    assert limits is not None
    if limits.choices:
        return nearest_choice(limits, value)
    if limits.power_of is not None:
        return round(math.log(value, limits.power_of))
    step = _step(limits)
    if step is not None:
        return round(value / step)
    # A multiple of another constant may be outside.
    low, high = whole_bounds(limits) if limits.whole else (limits.low, limits.high)
    return min(max(value, low), high)


def _decode(limits: Range | None, value: Any) -> Any:
    assert limits is not None
    if limits.power_of is not None:
        return nth_power(limits, value)
    step = _step(limits)
    return value if step is None else step * value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's progress lines, and its warnings of what is still experimental."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)


def session_search(session: Session, history: History, made: Sequence[Proposal] = ()) -> Search:
    """The search of a session's space from where it stands; ``made`` are not yet run.

    The space is that of the session's start, of a strategy's categories where it names
    some.  A trial counts as a measurement of a point if its code is, but for the constants,
    that of the incumbent or of one that this was built on; what other changes have gained
    since then is added.
    """
    texts = session.texts
    space = task_space(session.task, texts(history.start.files))
    only = Strategy.of(session.config.strategy).only if session.config.strategy else ()
    if only:
        space = Space([each for each in space.constants if each.category in only])
    start = space.point(texts(history.state.incumbent.files))
    trials = [history.start, *history.trials, *map(Trial, made)]
    points, codes = dict[int, Point](), dict[int, str]()
    for trial in trials:  # each file is parsed once
        contents = texts(trial.files)
        points[trial.number] = space.point(contents)
        codes[trial.number] = _code(start, contents)
    gains = _gains(session, history, codes)
    measured = []
    for trial in trials:
        point = points[trial.number]
        if codes[trial.number] not in gains or not point.keys() >= start.keys():
            continue
        gain = gains[codes[trial.number]]
        value = None if _breaks_constraint(session, trial) else _mean(session, trial)
        measured.append(
            Measured(
                number=trial.number,
                point={name: point[name] for name in start},
                value=None if value is None else value + gain,
                memory_mb=trial.memory_mb if trial.runs else None,
                waiting=bool(trial.number) and trial.ruling is None,
            )
        )
    origin = _origin(space, start, history, texts)
    return Search(space, start, origin, measured, session.config.memory_ceiling_mb)


def _origin(
    space: Space, start: Point, history: History, texts: Callable[[Mapping[str, str]], Contents]
) -> Point:
    """The point that CMA-ES began from: that of the parent of its first proposal."""
    first = next((t.proposal for t in history.trials if t.proposal.proposer == CMAES), None)
    point = start if first is None else space.point(texts(history.sources[first.parent]))
    return {name: point.get(name, value) for name, value in start.items()}


NAMES = {TPE: "TPE", CMAES: "CMA-ES", RANDOM: "Chance"}
"""Optimisers as they are written."""

NAMED = 2
"""Constants that a description names, since tables show it; diff and report have all."""


def point_idea(
    search: Search, optimizer: str, contents: Mapping[str, str], seed: int
) -> Idea | None:
    """The next point as an edit of the incumbent's files; ``None`` if none is left."""
    point = search.next_point(optimizer, seed)
    new = None if point is None else search.space.moved(contents, point)
    if point is None or new is None or new == contents:
        return None
    after = search.space.point(new)
    moved = [name for name in search.start if after[name] != search.start[name]]
    known = sum(each.value is not None for each in search.measured)
    hypothesis = f"{NAMES[optimizer]} proposes this after {plural(known, 'measured point')}"
    literals = {name: repr(after[name]) for name in moved}
    if len(moved) == 1:
        edit = Edit("constant", moved[0], literals[moved[0]])
        description = f"{moved[0]} {search.start[moved[0]]!r} -> {literals[moved[0]]}"
    else:
        hypothesis += f"; it moves {len(moved)} constants at once"
        values = ", ".join(f"{name}={value}" for name, value in literals.items())
        edit = Edit(POINT, optimizer, values, literals)
        # Not "from -> to", which readers of logs take for a change of one constant.
        steps = [f"{name} {literals[name]}" for name in moved[:NAMED]]
        more = ", …" if len(moved) > NAMED else ""
        description = f"{len(moved)} constants: {', '.join(steps)}{more}"
    return Idea(
        category=_category(search.space, moved),
        description=description,
        hypothesis=f"{hypothesis}.",
        contents=new,
        edit=edit,
        proposer=optimizer,
    )


def _category(space: Space, moved: Iterable[str]) -> str:
    """The category of most of the constants."""
    own = {each.name: each.category for each in space.constants}
    counts = Counter(own[name] for name in moved)
    return min(counts, key=lambda category: (-counts[category], category))


def _code(names: Iterable[str], contents: Mapping[str, str]) -> str:
    """Digest of a program without the values of its constants."""
    return digest(without_values(names, contents))


def _gains(session: Session, history: History, codes: Mapping[int, str]) -> dict[str, float]:
    """What is to be added to values of each earlier code to compare them with the incumbent's.

    Codes are those of the line from the baseline to the incumbent.  A kept change of the
    code counts with all that it gained, whatever constants it set besides.
    """
    steps: list[tuple[str, float]] = [(codes[0], 0.0)]
    before = history.start
    for trial in history.kept:
        code = codes[trial.number]
        old, new = _mean(session, before), _mean(session, trial)
        if code != steps[-1][0] and old is not None and new is not None:
            steps.append((code, new - old))
        before = trial
    gains: dict[str, float] = {}
    added = 0.0
    for code, gained in reversed(steps):
        gains.setdefault(code, added)
        added += gained
    return gains


def _mean(session: Session, trial: Trial) -> float | None:
    """Mean metric of the runs that a trial was judged by, lower being better.

    Later runs do not change it, nor what an optimiser was told.  ``None`` if it failed.
    """
    if trial.mean is None or trial.verdict is Verdict.TAMPERED:
        return None
    return session.sign * trial.mean


def _breaks_constraint(session: Session, trial: Trial) -> bool:
    """Whether a trial can never be kept, since a run of it breaks a constraint of the task."""
    constraints = session.task.constraints
    if not (constraints and trial.runs):
        return False
    records = (session.store.lookup(run.key) for run in trial.runs if run.value is not None)
    return bool(broken_constraint(constraints, [each.numbers for each in records if each]))
