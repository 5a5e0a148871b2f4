"""A whole log analysed: judged, steered by, and with all that a report shows of it."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path

from ratchet.base.errors import DataError, RatchetError
from ratchet.base.io import Fingerprint, digest_bytes
from ratchet.base.structs import Frozen
from ratchet.base.text import one_line
from ratchet.judge.judge import Replay
from ratchet.logs.experiments import SAME_VALUE, LogExperiments
from ratchet.logs.judging import Rules, noise_source, repeat_notes, replay_rows, settings_for
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
"""Largest number of suggestions that can be asked for."""

SUGGESTIONS = 5
"""Number of suggestions in a report."""

UNNAMED = "other"
"""The category that says nothing of what to try."""

DEFAULT_KEEP_PROBABILITY = 0.7
"""P(better) that a keep needs, where a log cannot be judged."""

RELATIVE_GAIN = 5e-4
"""Gain worth having, as a share of the metric, where no noise floor is known."""

Sources = Callable[[str], tuple[Mapping[str, str], Mapping[str, str]] | None]
"""Texts before and after a commit, by its hash."""

File = tuple[str, bytes]
"""A file's name, without the folders of this machine, and what it holds."""


class Steered(Frozen):
    """Advice on what to try next, by a log.

    ``baseline`` and ``best`` are in the metric's unit and direction; ``worth`` is
    the expected gain of one try by category, in the metric's unit.  ``noise_sd`` is
    ``None`` for a log that cannot be judged.
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
    noise_sd: float | None


def steer_by(
    every: LogExperiments,
    mode: SteeringMode,
    count: int,
    data: bytes,
    sources: Sources | None,
    done: Replay | None,
) -> Steered:
    """Steer by a log and its replay; the same bytes and mode give the same answer."""
    noise_sd, enough = None, DEFAULT_KEEP_PROBABILITY
    if done is not None:
        enough = done.judge.settings.keep_probability
        noise_sd = done.judge.noise_sd
    seed = int(digest_bytes(data)[:15], 16)
    attempts = _attempts(every, done, sources)
    pulls = _pulls(every, attempts)
    first = None if every.first is None else every.values[every.first]
    scale = noise_sd or RELATIVE_GAIN * abs(1.0 if first is None else first)
    known = tuple(name for name in CATEGORIES if name != UNNAMED)
    ranking = [n for n in rank_categories(pulls, seed, scale, mode, known) if n != UNNAMED]
    scores = score_categories(pulls)
    sign = every.table.direction.sign
    return Steered(
        attempts=tuple(attempts),
        scores=scores,
        ranking=tuple(ranking),
        suggestions=tuple(suggest_next(attempts, ranking, scores, count, enough, noise_sd)),
        crashes=tuple(crashes(attempts)),
        exhausted=tuple(exhausted(attempts)),
        worth=expected_gains(pulls, scale),
        baseline=None if first is None else sign * first,
        best=None if every.best is None else sign * every.best,
        noise_sd=noise_sd,
    )


def replayed(every: LogExperiments) -> tuple[Replay | None, list[str]]:
    """The log replayed, or why not; a log without metric can still be steered by."""
    try:
        settings = settings_for(every, len(every.rows), Rules())
        return replay_rows(every, settings), []
    except RatchetError as error:
        return None, [f"no noise floor: {error}"]


def _attempts(every: LogExperiments, done: Replay | None, sources: Sources | None) -> list[Attempt]:
    """The rows that tried a change, in order: no baseline, no re-run."""
    found = []
    for place, (row, number) in enumerate(zip(every.rows, every.numbers, strict=True)):
        # A log that lost its first rows may open with a change.
        start = place == every.first and category_of(row.description) in (None, UNNAMED)
        if every.again[place] or row.status is RowStatus.BASELINE or start:
            continue
        texts = sources(row.commit) if sources is not None and row.commit else None
        crashed = row.status is RowStatus.CRASH or every.values[place] is None
        kept = row.status is RowStatus.KEEP
        assessment = None if done is None else done.assessments[place]
        found.append(
            Attempt(
                number=number,
                category=classify_change(row.description, *(texts or (None, None))),
                description=row.description,
                kept=kept,
                crashed=crashed and not kept,
                gain=None if assessment is None else assessment.gain,
                confidence=None if assessment is None else assessment.confidence,
                memory_gb=row.memory_gb,
            )
        )
    return found


def _pulls(every: LogExperiments, attempts: Sequence[Attempt]) -> list[BanditPull]:
    """Pulls that steering learns from; gains are the judge's, else the step from the incumbent."""
    steps = {
        every.numbers[place]: (every.values[before] or 0.0) - (every.values[place] or 0.0)
        for place, before in every.incumbents.items()
    }
    gains = [steps.get(a.number, 0.0) if a.gain is None else a.gain for a in attempts]
    return [
        BanditPull(a.category, a.kept, max(gain, 0.0))
        for a, gain in zip(attempts, gains, strict=True)
    ]


def _fingerprint(file: File) -> Fingerprint:
    return Fingerprint(file[0], digest_bytes(file[1]), len(file[1]))


class CommitEdit(Frozen):
    """Change of a commit in text files: unified diff, lines, things changed."""

    diff: str
    added: int
    removed: int
    net_lines: int
    changes: int | None


class RunFile(Frozen):
    """The run log that was given; ``number`` is its row, ``None`` if it is of no row."""

    file: Fingerprint
    text: str
    number: int | None


class LogSession(Frozen, dict=True):
    """A log with all that was made of it.

    ``edits`` are by the rows' numbers, ``None`` where no repository was given.  ``noise``
    says what the noise floor is from, ``guess`` where it was looked for, ``notes`` what
    was assumed.
    """

    file: Fingerprint
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
    settings = settings_for(every, len(every.rows), rules)
    done = replay_rows(every, settings)
    sources = sources_of(repo, log[0])
    run, said = _run(run_log, every)
    noise, guess = noise_source(every, settings, rules.noise_sd is not None)
    notes = [*every.assumptions(), *repeat_notes(every)]
    return LogSession(
        file=_fingerprint(log),
        every=every,
        done=done,
        steered=steer_by(every, SteeringMode.AUTO, SUGGESTIONS, log[1], sources, done),
        mode=rules.mode,
        noise=noise,
        guess=guess,
        notes=(*table.assumptions, *notes, *_anew(every), *said),
        run=run,
        edits=sources and _edits(every, sources),
    )


def _anew(every: LogExperiments) -> list[str]:
    """Baselines after the first change that was kept: measurements before them may differ."""
    anew = [place for place, yes in enumerate(every.starts_anew) if yes and place != every.first]
    lines = [every.rows[place].line for place in anew]
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
    return RunFile(_fingerprint(file), text, number), [*run.assumptions, said]


def _row_of(run: RunLog, every: LogExperiments) -> int | None:
    """The last row with the run's metric; of a failed run, the last row if it failed too."""
    if run.value is None:
        return every.numbers[-1] if every.values[-1] is None else None
    near = SAME_VALUE * max(1.0, abs(run.value))
    for row, number in zip(reversed(every.rows), reversed(every.numbers), strict=True):
        if row.value is not None and abs(row.value - run.value) <= near:
            return number
    return None


def sources_of(repo: Path | None, log: str) -> Sources | None:
    """Texts before and after commits of a repository, each read once; ``None`` without one.

    Rows that a commit adds to the ``log`` are no lines of code.
    """
    if repo is None:
        return None
    from ratchet.base.git import Commits

    return cache(Commits(repo, {Path(log).name}).sources)


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
