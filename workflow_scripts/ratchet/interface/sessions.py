"""Sessions for Python: typed objects, and data frames of them.

    import ratchet

    session = ratchet.open_session("default")
    session.experiments.frame()

Everything is read, nothing is written, and no number is computed a second time: values are
those of the records that the report and the command lines show.
"""

from __future__ import annotations

import glob
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from math import fsum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet.base.errors import InputMissingError, UsageError
from ratchet.base.structs import Frozen
from ratchet.base.text import clean_text, one_line
from ratchet.cli.sessions import session_of
from ratchet.interface.frames import Items, Named, Numbered, columns, make_frame
from ratchet.proposers.declared import unified_diff
from ratchet.proposers.landscape import Constant, session_landscape
from ratchet.records.confirmed import confirmed_gain
from ratchet.records.events import read_events
from ratchet.records.history import History, Trial
from ratchet.records.records import (
    Contribution,
    Incumbent,
    Outcome,
    RunSummary,
    incumbent_runs,
)
from ratchet.records.series import CurvePoint, Sample, read_curve, read_samples
from ratchet.report.facts import (
    incumbent_facts,
    interval,
    measured_values,
    noise_facts,
    replicate_facts,
    run_facts,
)
from ratchet.report.inputs import SessionRecords
from ratchet.session import Session as PreparedSession

if TYPE_CHECKING:
    import pandas

PRINTED = "printed."
"""Before the names of the numbers that runs printed, in the frame of runs."""


class Runs(Items["Run"]):
    """Runs in the order in which the session used them; one that served twice is here twice."""

    def frame(self) -> pandas.DataFrame:
        """A row for each run; the numbers that runs printed follow as ``printed.NAME``."""
        import pandas

        names = dict.fromkeys(name for run in self for name in run.printed)
        cells = {name: [run.printed.get(name) for run in self] for name in names}
        found = {f"{PRINTED}{n}": pandas.array(c, dtype="Float64") for n, c in cells.items()}
        return pandas.concat([super().frame(), pandas.DataFrame(found)], axis="columns")


class Curves(Items["Curve"]):
    """Curves of runs, for those that have one."""

    def frame(self) -> pandas.DataFrame:
        """A row for each point, in the order of the runs, with the run that it is of."""
        return _long_frame(CurvePoint, [(each.run, each.points) for each in self])


class SampledRuns(Items["Samples"]):
    """Samples of runs, for those that have any."""

    def frame(self) -> pandas.DataFrame:
        """A row for each sample, in the order of the runs, with the run that it is of."""
        return _long_frame(Sample, [(each.run, each.points) for each in self])


def _long_frame(
    kind: type[Frozen], parts: Sequence[tuple[Run, Sequence[Frozen]]]
) -> pandas.DataFrame:
    import pandas

    frame = make_frame(kind, (point for _, points in parts for point in points), None)
    for place, name in enumerate(("experiment", "phase", "replicate", "key")):
        cells = [getattr(run, name) for run, points in parts for _ in points]
        frame.insert(place, name, pandas.array(cells, dtype=columns(Run)[name]))
    return frame


class Run(Frozen, dict=True):
    """One execution of a training script, with one seed.

    ``phase`` says what it was made for: ``baseline``, ``experiment``, ``guard``,
    ``incumbent`` (a further run of the code that proposals start from), ``certification``,
    ``confirmation`` or ``transfer``.  ``experiment`` is the number of the experiment whose
    code it ran, 0 for the baseline, ``None`` for a champion without the changes that
    ``left_out`` names.  ``replicate`` counts the runs of an experiment in a phase from 0.
    ``value`` is the metric, ``unseen_value`` that on data that the search never saw.
    ``memory_mb`` is what the script reports and ``peak_rss_mb`` what was measured; likewise
    ``train_seconds`` and ``wall_seconds``.  ``slowed`` says what made the machine slow,
    ``from_store`` when the run was made if another session made it.  ``printed`` are the
    numbers of the script's summary.  What the store no longer has of a run is ``None``.
    """

    session: Session
    key: str
    phase: str
    experiment: int | None
    replicate: int
    seed: int
    outcome: str
    reason: str
    value: float | None
    unseen_value: float | None
    memory_mb: float | None
    peak_rss_mb: float | None
    train_seconds: float | None
    wall_seconds: float | None
    cpu_seconds: float | None
    slowed: str
    from_store: str | None
    left_out: tuple[int, ...] = ()
    printed: Mapping[str, float | None] = {}

    def __repr__(self) -> str:
        return f"Run({self.phase} of {self.experiment}, {self.outcome}, value={self.value})"

    def log(self) -> str:
        """What the run printed, without colours and control characters; empty if it is lost."""
        path = self.session._prepared.log_path(self.key)
        return clean_text(path.read_text("utf-8", errors="replace")) if path.is_file() else ""

    @cached_property
    def curve(self) -> Curve:
        """Its training loss, step by step; without points if it printed none."""
        return Curve(self, tuple(read_curve(self.session._prepared.store, self.key)))

    @cached_property
    def samples(self) -> Samples:
        """What its machine did meanwhile; without points if nothing was recorded."""
        return Samples(self, tuple(read_samples(self.session._prepared.store, self.key)))


class Curve(Frozen):
    """Training loss of a run, step by step."""

    run: Run
    points: tuple[CurvePoint, ...]

    def frame(self) -> pandas.DataFrame:
        """A row for each point, by step."""
        return make_frame(CurvePoint, self.points, "step")

    def __repr__(self) -> str:
        return f"Curve({len(self.points)} points of {self.run!r})"


class Samples(Frozen):
    """Processor, memory and GPU while a run lasted."""

    run: Run
    points: tuple[Sample, ...]

    def frame(self) -> pandas.DataFrame:
        """A row for each sample, by seconds since the run began."""
        return make_frame(Sample, self.points, "seconds")

    def __repr__(self) -> str:
        return f"Samples({len(self.points)} of {self.run!r})"


class Experiment(Frozen, dict=True):
    """One proposal, evaluated; number 0 is the baseline, with the verdict ``BASELINE``.

    ``parent`` is the number of the experiment whose code it changes.  ``value`` is the mean
    metric of its runs and ``incumbent`` what was believed of the code it had to beat, in the
    metric's own unit and direction, like their difference ``delta`` with its 95 % interval.
    ``gain`` is the expected true improvement: positive is better, whatever the direction.
    ``p_better`` is the probability that decided, of being better by more than ``price``
    (``confidence`` in JSON).  ``measured_runs`` have a metric; the seconds are sums over its
    runs.  ``standing`` and ``contribution`` say what fresh runs tell of a kept change.
    ``constants`` are those that the edit sets, as they are written.  A verdict, and what
    comes with it, is ``None`` as long as there is none.
    """

    session: Session
    number: int
    round: int
    description: str
    hypothesis: str
    category: str
    proposer: str
    edit: str | None
    parent: int | None
    retry_of: int | None
    verdict: str | None
    status: str | None
    kept: bool
    reason: str | None
    outcome: str | None
    value: float | None
    incumbent: float | None
    delta: float | None
    delta_low: float | None
    delta_high: float | None
    gain: float | None
    p_better: float | None
    price: float | None
    measured_runs: int
    memory_mb: float | None
    memory_ratio: float | None
    train_seconds: float | None
    wall_seconds: float | None
    lines_added: int
    lines_removed: int
    net_lines: int | None
    near_miss: bool
    standing: str | None
    contribution: float | None
    contribution_low: float | None
    contribution_high: float | None
    commit: str
    source: str
    constants: Mapping[str, str]
    _trial: Trial

    def __repr__(self) -> str:
        return f"Experiment({self.number}, {self.description!r}, {self.verdict}, {self.value})"

    @cached_property
    def runs(self) -> Runs:
        """Its own runs: those that it was judged by, and further ones of the same code."""
        return Runs(Run, (run for run in self.session.runs if run.experiment == self.number))

    @property
    def curves(self) -> Curves:
        """Curves of its runs that have one."""
        return Curves(Curve, (run.curve for run in self.runs if run.curve.points))

    def files(self) -> dict[str, str]:
        """Its mutable files as text, by name."""
        return self.session._prepared.texts(self._trial.files)

    def diff(self) -> str:
        """Unified diff of its edit, without control characters; empty for the baseline."""
        return clean_text(self._trial.proposal.diff)


class GainInterval(Frozen):
    """A gain of the champion over the baseline with its interval."""

    gain: float | None
    low: float | None
    high: float | None


class Champion(Frozen):
    """The best code so far and, once fresh runs compared it with the baseline, its gain.

    ``number`` is its last kept experiment, and ``kept`` how many kept changes it has.
    ``value`` is the metric as it was measured, ``estimate`` and ``sd`` what the judge
    believes.  ``standing`` is ``confirmed`` where the interval ``low`` to ``high`` of
    ``gain``, at ``level``, is above 0; all are ``None`` before the confirmation.  They are
    those of ``unseen`` data where the task has such, else of the ``search``'s (``data``).
    """

    session: Session
    number: int
    description: str
    value: float
    estimate: float
    sd: float
    kept: int
    memory_mb: float | None
    standing: str | None
    gain: float | None
    low: float | None
    high: float | None
    level: float | None
    data: str | None
    search: GainInterval | None
    unseen: GainInterval | None
    _held: Incumbent

    def __repr__(self) -> str:
        return f"Champion({self.number}, {self.value}, standing={self.standing}, gain={self.gain})"

    @property
    def experiment(self) -> Experiment:
        """Its last kept experiment."""
        return self.session.experiment(self.number)

    @property
    def contributions(self) -> Numbered[Contribution]:
        """What each kept change adds by fresh runs; empty where nothing was certified."""
        return Numbered(Contribution, self.session._history.contributions.values())

    @property
    def runs(self) -> Runs:
        """Its fresh runs, with seeds that the search never used."""
        phase, number = "confirmation", self.number
        every = self.session.runs
        return Runs(Run, (run for run in every if (run.phase, run.experiment) == (phase, number)))

    def files(self) -> dict[str, str]:
        """Its mutable files as text, by name, without what the certification took out."""
        return self.session._prepared.texts(self._held.files)

    def diff(self) -> str:
        """Unified diff from the baseline to it, without control characters."""
        prepared = self.session._prepared
        text, _, _ = unified_diff(prepared.texts(prepared.baseline_files), self.files())
        return clean_text(text)


class Belief(Frozen):
    """What the judge believes of the incumbent, from the experiment ``since`` on.

    ``number`` is the experiment that the incumbent is, ``mean`` and ``sd`` its true metric.
    """

    since: int
    number: int
    mean: float
    sd: float | None


class Session(Frozen, dict=True):
    """A session as its records were when it was opened; open it again for what came later.

    ``baseline`` is the mean metric of the unchanged code, ``noise_sd`` the standard deviation
    of one run with its interval, ``None`` where chance was not measured.  ``rounds`` were
    judged, and ``finished`` says that the champion is confirmed.  ``settings`` are those that
    verdicts depend on.
    """

    name: str
    folder: Path
    task: str
    metric: str
    unit: str | None
    direction: str
    baseline: float | None
    noise_sd: float | None
    noise_low: float | None
    noise_high: float | None
    rounds: int
    finished: bool
    settings: Mapping[str, Any]
    _prepared: PreparedSession
    _history: History

    def __repr__(self) -> str:
        kept = len(self._history.kept)
        what = f"{len(self._history.judged)} experiments of {self.task}, {kept} kept"
        return f"Session({self.name!r}: {what}, {self.metric} from {self.baseline:.6g})"

    @cached_property
    def _reported(self) -> SessionRecords:
        """What the report shows runs by; those that are damaged or lost are not there."""
        prepared, metric = self._prepared, self._prepared.task.metric
        keys = dict.fromkeys(run.key for *_, run in _used_runs(self._history))
        found = {key: prepared.store.peek(key) for key in keys}
        return SessionRecords(
            manifest=prepared.manifest,
            metric=metric.name,
            unit=metric.unit,
            direction=metric.direction,
            judge=self.settings,
            history=self._history,
            runs={key: record for key, record in found.items() if record is not None},
            events=tuple(read_events(prepared.paths.events)),
        )

    @cached_property
    def experiments(self) -> Numbered[Experiment]:
        """The baseline, as number 0, and all proposals in order, judged or not."""
        trials = (self._history.start, *self._history.trials)
        return Numbered(Experiment, (_experiment(self, trial) for trial in trials))

    def experiment(self, number: int) -> Experiment:
        """The experiment of a number; 0 is the baseline.

        Raises :class:`ratchet.base.errors.UsageError` if there is none.
        """
        known = {each.number: each for each in self.experiments}
        if number not in known:
            raise UsageError(
                f"session {self.name!r}: expected an experiment from 0 (the baseline) to "
                f"{max(known)}, found {number}; session.experiments has them all"
            )
        return known[number]

    @cached_property
    def runs(self) -> Runs:
        """All runs that something was decided from, by phase."""
        counts: dict[tuple[str, int | None], int] = {}
        made = []
        for used in _used_runs(self._history):
            replicate = counts.get(used[:2], 0)
            counts[used[:2]] = replicate + 1
            made.append(_run(self, used, replicate))
        return Runs(Run, made)

    @property
    def curves(self) -> Curves:
        """Curves of all runs that have one."""
        return Curves(Curve, (run.curve for run in self.runs if run.curve.points))

    @property
    def samples(self) -> SampledRuns:
        """What the machine did during runs, where that was recorded."""
        return SampledRuns(Samples, (run.samples for run in self.runs if run.samples.points))

    @cached_property
    def champion(self) -> Champion | None:
        """The best code, confirmed or not yet; ``None`` as long as nothing was kept."""
        history = self._history
        if not history.states or not history.state.incumbent.number:
            return None
        certified, confirmed = history.certification, history.confirmation
        held = history.state.incumbent if certified is None else certified.champion
        gain: Mapping[str, Any] = {} if confirmed is None else confirmed_gain(confirmed)
        return Champion(
            session=self,
            number=held.number,
            description=self.experiment(held.number).description,
            value=held.measured,
            estimate=held.mean,
            sd=held.sd,
            kept=held.kept,
            memory_mb=held.memory_mb,
            standing=gain.get("standing"),
            gain=gain.get("gain"),
            low=gain.get("low"),
            high=gain.get("high"),
            level=gain.get("level"),
            data=gain.get("data"),
            search=GainInterval(**gain["search"]) if gain.get("search") else None,
            unseen=GainInterval(**gain["unseen"]) if gain.get("unseen") else None,
            _held=held,
        )

    @property
    def incumbents(self) -> Items[Belief]:
        """The running best as the judge believes it, wherever that belief changed."""
        lines = incumbent_facts(self._history, replicate_facts(self._history.baseline.runs))
        return Items(Belief, (Belief(e["from"], e["number"], e["mean"], e["sd"]) for e in lines))

    def importance(self) -> Named[Constant]:
        """Constants by their importance for being among the best third, by PED-ANOVA.

        Empty where edits set no constants of a known range, or too few to tell.
        """
        with warnings.catch_warnings():
            # Optuna's progress bars miss their widgets in a notebook, and none is shown.
            warnings.filterwarnings("ignore", "IProgress not found")
            found = session_landscape(self._prepared, self._history, predict=False)
        return Named(Constant, () if found is None else found.constants)


def open_session(
    name: str | os.PathLike[str] = "default", root: str | os.PathLike[str] | None = None
) -> Session:
    """A started session by its name, or by its folder, finished or not.

    ``root`` is the folder with ``results`` and ``store``; by default the current one, or the
    nearest above it that has such a session.  Nothing is written.  Raises
    :class:`ratchet.base.errors.InputMissingError` with the names that there are.
    """
    text = os.fspath(name)
    if os.sep in text or not isinstance(name, str):
        folder = Path(text).resolve()
        if root is not None or folder.parent.name != "results":
            raise InputMissingError(
                f"{one_line(text)}: expected the name of a session, or its folder results/NAME; "
                'try open_session("default", root="FOLDER")'
            )
        return _opened(folder.name, folder.parents[1])
    if root is not None:
        return _opened(text, Path(root))
    return _opened(text, _root_of(text, Path.cwd()))


def _root_of(name: str, here: Path) -> Path:
    """The nearest folder, from here up, that has such a session; else one that has any."""
    folders = (here, *here.parents)
    for pattern in (f"results/{glob.escape(name)}/manifest.json", "results/*/manifest.json"):
        for folder in folders:
            if next(folder.glob(pattern), None) is not None:
                return folder
    return here


def _opened(name: str, root: Path) -> Session:
    prepared = session_of(None, root, [f"session={json.dumps(name)}"])
    history = History.read(prepared.paths)
    metric = prepared.task.metric
    baseline = replicate_facts(history.baseline.runs)
    noise = noise_facts(history, baseline)
    return Session(
        name=prepared.config.session,
        folder=prepared.paths.folder,
        task=prepared.manifest.task,
        metric=metric.name,
        unit=metric.unit,
        direction=metric.direction.value,
        baseline=baseline["mean"],
        **{f"noise_{name}": noise[name] for name in ("sd", "low", "high")},
        rounds=max((trial.round for trial in history.judged), default=0),
        finished=history.confirmation is not None,
        settings=prepared.judge_settings,
        _prepared=prepared,
        _history=history,
    )


_AS_RULED = ("incumbent", "price", "memory_ratio", "net_lines")


def _experiment(session: Session, trial: Trial) -> Experiment:
    history, proposal, ruling = session._history, trial.proposal, trial.ruling
    numbers = {state.incumbent.source: state.incumbent.number for state in history.states}
    telling = trial.telling_run
    low, high = interval(trial.delta, ruling.delta_sd if ruling else None)
    added = history.contributions.get(trial.number)
    edit = proposal.edit
    single = {} if edit is None or edit.value is None else {edit.name: edit.value}
    runs = {run.key: run_facts(run, session._reported) for run in trial.runs}.values()
    return Experiment(
        session=session,
        number=trial.number,
        round=trial.round,
        description=one_line(trial.description),
        hypothesis=clean_text(proposal.hypothesis),
        category=one_line(trial.category),
        proposer=one_line(proposal.proposer),
        edit=None if trial.edit is None else one_line(trial.edit),
        parent={history.baseline.source: 0, **numbers}.get(proposal.parent),
        retry_of=proposal.retry_of,
        verdict=trial.word or None,
        status=None if trial.status is None else trial.status.value,
        kept=trial.kept,
        reason=None if ruling is None else one_line(ruling.reason),
        outcome=None if telling is None else telling.outcome.value,
        value=trial.mean,
        **{name: getattr(ruling, name, None) for name in _AS_RULED},
        delta=trial.delta,
        delta_low=low,
        delta_high=high,
        gain=trial.gain,
        p_better=trial.confidence,
        measured_runs=len(measured_values(trial.runs)),
        memory_mb=trial.memory_mb,
        train_seconds=_total(run["train_seconds"] for run in runs),
        wall_seconds=_total(run["wall_seconds"] for run in runs),
        lines_added=proposal.lines_added,
        lines_removed=proposal.lines_removed,
        near_miss=ruling is not None and ruling.near_miss,
        standing=None if added is None else added.standing.value,
        contribution=getattr(added, "gain", None),
        contribution_low=getattr(added, "low", None),
        contribution_high=getattr(added, "high", None),
        commit=trial.commit,
        source=proposal.source,
        constants=single if edit is None or not edit.values else edit.values,
        _trial=trial,
    )


def _total(seconds: Iterable[float | None]) -> float | None:
    """Sum over distinct runs; ``None`` as soon as one run did not measure it."""
    every = list(seconds)
    known = [each for each in every if each is not None]
    return fsum(known) if known and len(known) == len(every) else None


Used = tuple[str, int | None, tuple[int, ...], RunSummary]
"""A run with its phase, its experiment, and what its code leaves out of the champion's."""


def _used_runs(history: History) -> Iterator[Used]:
    for run in history.baseline.runs:
        yield "baseline", 0, (), run
    for trial in history.trials:
        for run in trial.runs:
            guarded = run.outcome is Outcome.GUARD_FAILED
            yield "guard" if guarded else "experiment", trial.number, (), run
    held = {state.round: state.incumbent.number for state in history.states}
    for verdict in history.verdicts:
        for run in incumbent_runs(verdict):
            yield "incumbent", held.get(verdict.round - 1, 0), (), run
    for each in () if history.certification is None else history.certification.runs:
        if each.run is not None:
            yield "certification", None, each.left_out, each.run
    measured = {"confirmation": history.confirmation}
    measured["transfer"] = None if history.transfer is None else history.transfer.measured
    for phase, found in measured.items():
        if found is not None:
            yield from ((phase, 0, (), run) for run in found.baseline_runs)
            yield from ((phase, found.champion, (), run) for run in found.champion_runs)


def _run(session: Session, used: Used, replicate: int) -> Run:
    phase, experiment, left_out, summary = used
    record = session._reported.runs.get(summary.key)
    shown = run_facts(summary, session._reported)
    return Run(
        session=session,
        key=summary.key,
        phase=phase,
        experiment=experiment,
        replicate=replicate,
        seed=summary.seed,
        outcome=summary.outcome.value,
        reason=one_line(summary.reason),
        value=summary.value,
        unseen_value=summary.audit,
        memory_mb=summary.memory_mb,
        **{name: shown[name] for name in ("train_seconds", "wall_seconds", "from_store")},
        **{name: getattr(record, name, None) for name in ("peak_rss_mb", "cpu_seconds")},
        slowed=one_line(summary.slowed),
        left_out=left_out,
        printed={one_line(n): v for n, v in record.metrics.items()} if record else {},
    )
