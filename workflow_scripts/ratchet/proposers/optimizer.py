"""Points of a space of constants, proposed by the optimisers of Optuna.

A study is made anew from the session's records for each proposal, so that a session that
was killed, replayed or extended is proposed the same.  Runs that failed have no number:
TPE ranks them behind all others, CMA-ES draws another point for them.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ratchet.base.io import digest
from ratchet.base.structs import Frozen, replace
from ratchet.base.text import plural
from ratchet.proposers.space import Point, Space, power_bounds, session_space, without_values
from ratchet.records.history import History, Trial
from ratchet.records.records import CMAES, POINT, RANDOM, TPE, Edit, Proposal
from ratchet.session import Session
from ratchet.task.edits import Idea
from ratchet.task.task import Range

if TYPE_CHECKING:  # a second to import, for the step alone that proposes by it
    import optuna

REDRAWS = 50
"""So often another point is drawn where one was measured before."""

STARTUP = 10
"""Measured points before which TPE draws at random, as Optuna has it by default."""


class Measured(Frozen):
    """A point that was tried, by whom, and what came of it.

    ``value`` is the mean metric of its runs, lower being better; ``None`` for one that
    failed, or whose runs are not yet made (``waiting``).  ``memory_mb`` is what it needed.
    """

    number: int
    point: Mapping[str, Any]
    value: float | None
    proposer: str = ""
    memory_mb: float | None = None
    waiting: bool = False


class Search(Frozen):
    """Search of a space: the point to start from, and what was measured, in order.

    A point that needs more than ``ceiling_mb`` of memory is no solution.
    """

    space: Space
    start: Point
    measured: Sequence[Measured]
    ceiling_mb: float | None = None

    def next_point(self, optimizer: str, seed: int) -> Point | None:
        """A point that was not measured, by ``tpe``, ``cmaes`` or ``random``; ``None`` if all were.

        The same search and seed give the same point.
        """
        with _quiet():
            if optimizer == CMAES:
                return self._by_generations(seed)
            return self._by_density(optimizer, seed)

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

    def _by_generations(self, seed: int) -> Point | None:
        """CMA-ES asks again for all that it was told, and then for one point more."""
        import optuna

        study = optuna.create_study(
            sampler=optuna.samplers.CmaEsSampler(
                x0=self._encoded(self.start),
                seed=seed % 2**32,
                with_margin=True,
                warn_independent_sampling=False,
            )
        )
        by_point = {_identity(each.point): each for each in self.measured}
        first = next((each for each in self.measured if each.value is not None), None)
        if first is not None:
            study.add_trial(self._trial(replace(first, point=self.start)))
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
    return digest({name: repr(value) for name, value in point.items()})


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
        low = max(1, math.ceil(limits.low / step))
        return IntDistribution(low, max(low, math.floor(limits.high / step)), log=limits.log)
    if limits.whole:
        return IntDistribution(math.ceil(limits.low), math.floor(limits.high), log=limits.log)
    return FloatDistribution(limits.low, limits.high, log=limits.log)


def _encode(limits: Range | None, value: Any) -> Any:
    assert limits is not None
    if limits.choices:
        return value
    if limits.power_of is not None:
        return round(math.log(value, limits.power_of))
    step = _step(limits)
    if step is not None:
        return round(value / step)
    # A multiple of another constant may be outside.
    return min(max(value, limits.low), limits.high)


def _decode(limits: Range | None, value: Any) -> Any:
    assert limits is not None
    if limits.power_of is not None:
        return limits.power_of**value
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

    The space is that of the session's start.  A trial counts as a measurement of a point if
    its code is, but for the constants, that of the incumbent or of one that this was built
    on; what other changes have gained since then is added.
    """
    texts = session.texts
    space = session_space(session.task.search_space, texts(history.start.files))
    start = space.point(texts(history.state.incumbent.files))
    trials = [history.start, *history.trials, *map(Trial, made)]
    codes = {t.number: _code(start, texts(t.files)) for t in trials}
    gains = _gains(session, history, codes)
    measured = []
    for trial in trials:
        point = space.point(texts(trial.files))
        if codes[trial.number] not in gains or not point.keys() >= start.keys():
            continue
        value = _mean(session, history, trial.number)
        measured.append(
            Measured(
                number=trial.number,
                point={name: point[name] for name in start},
                value=None if value is None else value + gains[codes[trial.number]],
                proposer=trial.proposal.proposer,
                memory_mb=trial.memory_mb if trial.runs else None,
                waiting=bool(trial.number) and trial.ruling is None,
            )
        )
    return Search(space, start, measured, session.config.memory_ceiling_mb)


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
    before = 0
    for trial in history.kept:
        code = codes[trial.number]
        old, new = (_mean(session, history, n) for n in (before, trial.number))
        if code != steps[-1][0] and old is not None and new is not None:
            steps.append((code, new - old))
        before = trial.number
    gains: dict[str, float] = {}
    added = 0.0
    for code, gained in reversed(steps):
        gains.setdefault(code, added)
        added += gained
    return gains


def _mean(session: Session, history: History, number: int) -> float | None:
    """Mean metric of a trial's runs, lower being better; ``None`` without any that counts."""
    trial = next((t for t in history.judged if t.number == number), None)
    if trial is not None and trial.failed:
        return None
    values = history.replicates.get(number)
    return session.sign * math.fsum(values) / len(values) if values else None
