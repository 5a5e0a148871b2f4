"""A whole log analysed: judged, steered by, and with all that a report shows of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path

from ratchet.base.errors import DataError, RatchetError
from ratchet.base.structs import Frozen
from ratchet.base.text import one_line
from ratchet.judge.judge import Replay
from ratchet.logs.experiments import SAME_VALUE, LogExperiments
from ratchet.logs.judging import Rules, noise_source, replay_rows, settings_for
from ratchet.logs.reader import RunLog, decode_text, read_run
from ratchet.logs.table import RowStatus
from ratchet.records.records import CATEGORIES, Suggestion
from ratchet.steering.bandit import (
    BanditPull,
    CategoryScore,
    SteeringMode,
    expected_gains,
    rank_categories,
    score_categories,
)
from ratchet.steering.categories import category_of, classify_change
from ratchet.steering.code_diff import count_changes, net_code_lines
from ratchet.steering.suggestions import Attempt, AttemptNote, crashes, exhausted, suggest_next

MOST_SUGGESTIONS = 20
"""Suggestions that anybody may ask for."""

SUGGESTIONS = 5
"""Suggestions that are made where nobody says how many."""

UNNAMED = "other"
"""The category that says nothing of what to try."""

RELATIVE_GAIN = 5e-4
"""Gain worth having, as a share of the metric, where no noise floor is known."""

Sources = Callable[[str], tuple[Mapping[str, str], Mapping[str, str]] | None]
"""Texts before and after a commit, by its hash."""

File = tuple[str, bytes]
"""A file's name, without the folders of this machine, and what it holds."""


class JudgedLog(Frozen):
    """What the judge makes of a log; ``confidence`` and ``gain`` are by row."""

    noise_sd: float | None = None
    keep_probability: float = 0.7
    confidence: tuple[float | None, ...] = ()
    gain: tuple[float | None, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, done: Replay, notes: Sequence[str] = ()) -> JudgedLog:
        """From a log that was replayed with its own decisions."""
        found = done.assessments
        return cls(
            noise_sd=done.judge.noise_sd,
            keep_probability=done.judge.settings.keep_probability,
            confidence=tuple(None if a is None else a.confidence for a in found),
            gain=tuple(None if a is None else a.gain for a in found),
            notes=tuple(notes),
        )


class Steered(Frozen):
    """What a log says of what to try next.

    ``baseline`` and ``best`` are in the metric's unit and direction; ``worth`` is
    the expected gain of one try by category, in the metric's unit.
    """

    attempts: tuple[Attempt, ...]
    scores: tuple[CategoryScore, ...]
    ranking: tuple[str, ...]
    suggestions: tuple[Suggestion, ...]
    crashes: tuple[AttemptNote, ...]
    exhausted: tuple[AttemptNote, ...]
    worth: Mapping[str, float]
    baseline: float | None
    best: float | None
    judged: JudgedLog


def steer_by(
    every: LogExperiments,
    mode: SteeringMode,
    count: int,
    data: bytes,
    sources: Sources | None = None,
    judged: JudgedLog | None = None,
) -> Steered:
    """Steer by a log; the same bytes and mode give the same answer.

    ``judged`` spares the replay of a log that was judged already.
    """
    judged = _judged(every) if judged is None else judged
    seed = int(hashlib.sha256(data).hexdigest()[:15], 16)
    attempts = _attempts(every, judged, sources)
    pulls = _pulls(every, attempts)
    first = None if every.first is None else every.values[every.first]
    scale = judged.noise_sd or RELATIVE_GAIN * abs(1.0 if first is None else first)
    known = tuple(name for name in CATEGORIES if name != UNNAMED)
    ranking = [n for n in rank_categories(pulls, seed, scale, mode, known) if n != UNNAMED]
    scores = score_categories(pulls)
    sign = every.table.direction.sign
    return Steered(
        attempts=tuple(attempts),
        scores=scores,
        ranking=tuple(ranking),
        suggestions=tuple(
            suggest_next(attempts, ranking, scores, count, judged.keep_probability, judged.noise_sd)
        ),
        crashes=tuple(crashes(attempts)),
        exhausted=tuple(exhausted(attempts)),
        worth=expected_gains(pulls, scale),
        baseline=None if first is None else sign * first,
        best=None if every.best is None else sign * every.best,
        judged=judged,
    )


def _judged(every: LogExperiments) -> JudgedLog:
    """The log replayed; one that cannot be judged (no metric at all) can still be steered by."""
    try:
        settings, notes = settings_for(every, len(every.rows), Rules())
        return JudgedLog.of(replay_rows(every, settings), notes)
    except RatchetError as error:
        return JudgedLog(notes=(f"no noise floor: {error}",))


def _attempts(
    every: LogExperiments, judged: JudgedLog, sources: Sources | None = None
) -> list[Attempt]:
    """The rows that tried a change, in order: no baseline, no re-run."""
    found = []
    for place, (row, number) in enumerate(zip(every.rows, every.numbers, strict=True)):
        # A log that was cut off before may open with a change.
        start = place == every.first and category_of(row.description) in (None, UNNAMED)
        if every.again[place] or row.status is RowStatus.BASELINE or start:
            continue
        texts = sources(row.commit) if sources is not None and row.commit else None
        crashed = row.status is RowStatus.CRASH or every.values[place] is None
        kept = row.status is RowStatus.KEEP
        found.append(
            Attempt(
                number=number,
                category=classify_change(row.description, *(texts or (None, None))),
                description=row.description,
                kept=kept,
                crashed=crashed and not kept,
                gain=judged.gain[place] if judged.gain else None,
                confidence=judged.confidence[place] if judged.confidence else None,
                memory_gb=row.memory_gb,
            )
        )
    return found


def _pulls(every: LogExperiments, attempts: Sequence[Attempt]) -> list[BanditPull]:
    """What steering learns; gains are the judge's, else the step down from the incumbent."""
    steps = {
        every.numbers[place]: (every.values[before] or 0.0) - (every.values[place] or 0.0)
        for place, before in every.incumbents.items()
    }
    gains = [steps.get(a.number, 0.0) if a.gain is None else a.gain for a in attempts]
    return [
        BanditPull(a.category, a.kept, max(gain, 0.0))
        for a, gain in zip(attempts, gains, strict=True)
    ]


class SourceFile(Frozen):
    """A file that the report rests on, by its name without folders."""

    name: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, file: File) -> SourceFile:
        return cls(file[0], len(file[1]), hashlib.sha256(file[1]).hexdigest())


class CommitEdit(Frozen):
    """What a commit changed in Python files: unified diff, lines, things changed."""

    diff: str
    added: int
    removed: int
    net_lines: int
    changes: int | None


class RunFile(Frozen):
    """The run log that was given; ``number`` is its row, ``None`` if it is of no row."""

    file: SourceFile
    text: str
    number: int | None


class LogSession(Frozen, dict=True):
    """A log with all that was made of it.

    ``edits`` are by the rows' numbers, ``None`` where no repository was given.  ``noise``
    says what the noise floor is from, ``guess`` where it was looked for, ``notes`` what
    was assumed.
    """

    file: SourceFile
    every: LogExperiments
    done: Replay
    steered: Steered
    mode: str
    noise: str
    guess: str = ""
    notes: Sequence[str] = ()
    run: RunFile | None = None
    edits: Mapping[int, CommitEdit] | None = None

    @cached_property
    def categories(self) -> dict[int, str]:
        """Category by a row's number; none for the baseline and its further runs."""
        return {attempt.number: attempt.category for attempt in self.steered.attempts}


def analyzed(
    every: LogExperiments,
    log: File,
    rules: Rules,
    run_log: File | None = None,
    repo: Path | None = None,
) -> LogSession:
    """A log replayed and steered by, with its run log and the edits of its commits.

    Raises :class:`DataError` for a log that cannot be judged.
    """
    table, name = every.table, one_line(log[0])
    if every.first is None:
        raise DataError(
            f"{name}: line 1, column 1: expected a row with a value of {one_line(table.metric)}, "
            f"found none in {len(table.rows)} rows; is another column the metric? name it: "
            "--metric NAME"
        )
    settings, assumed = settings_for(every, len(every.rows), rules)
    done = replay_rows(every, settings)
    sources = None if repo is None else _sources(repo)
    run, said = _run(run_log, every)
    noise, guess = noise_source(every, settings, rules.noise_sd is not None, bool(assumed))
    steered = steer_by(every, SteeringMode.AUTO, SUGGESTIONS, log[1], sources, JudgedLog.of(done))
    return LogSession(
        file=SourceFile.of(log),
        every=every,
        done=done,
        steered=steered,
        mode=rules.mode,
        noise=noise,
        guess=guess,
        notes=(*table.assumptions, *every.assumptions(), *_anew(every), *assumed, *said),
        run=run,
        edits=None if sources is None else _edits(every, sources),
    )


def _anew(every: LogExperiments) -> list[str]:
    """Baselines after the first change that was kept: measurements before them may differ."""
    lines = [
        row.line
        for place, row in enumerate(every.rows)
        if row.status is RowStatus.BASELINE and every.kept[place] and place != every.first
    ]
    if not lines:
        return []
    shown = ", ".join(map(str, lines[:8]))
    return [f"line {shown}: a later baseline is a new incumbent, measured as the ones before it"]


def _run(file: File | None, every: LogExperiments) -> tuple[RunFile | None, list[str]]:
    """The run log, the row that it is of, and what was assumed for that."""
    if file is None:
        return None, []
    name, data = one_line(file[0]), file[1]
    run = read_run(data, name, every.table.metric)
    number = _row_of(run, every)
    text = decode_text(data, name)[0] if data.strip() else ""
    if number is not None:
        why = "it failed, as the last row did" if run.value is None else "they have the same metric"
        said = f"the run log is of experiment {number}: {why}"
    else:
        found = f"has {one_line(every.table.metric)} {run.value}, which no row has"
        if run.value is None:
            found = "has no metric, and the last row has one"
        said = f"the run log is of no row and not shown: it {found}"
    return RunFile(SourceFile.of(file), text, number), [*run.assumptions, said]


def _row_of(run: RunLog, every: LogExperiments) -> int | None:
    """The last row with the run's metric; of a failed run, the last row if it failed too."""
    if run.value is None:
        return every.numbers[-1] if every.values[-1] is None else None
    near = SAME_VALUE * max(1.0, abs(run.value))
    for row, number in zip(reversed(every.rows), reversed(every.numbers), strict=True):
        if row.value is not None and abs(row.value - run.value) <= near:
            return number
    return None


def _sources(repo: Path) -> Sources:
    """What commits changed, each read once."""
    from ratchet.base.git import Commits

    return cache(Commits(repo).sources)


def _edits(every: LogExperiments, sources: Sources) -> Mapping[int, CommitEdit]:
    """Edits of the candidates whose commit the repository has, by number."""
    from ratchet.proposers.declared import unified_diff

    found = {}
    for place, (row, number) in enumerate(zip(every.rows, every.numbers, strict=True)):
        candidate = place != every.first and not every.again[place]
        texts = sources(row.commit) if candidate and row.commit else None
        if texts is None:
            continue
        text, added, removed = unified_diff(*texts)
        found[number] = CommitEdit(
            text, added, removed, net_code_lines(*texts), count_changes(*texts)
        )
    return found
