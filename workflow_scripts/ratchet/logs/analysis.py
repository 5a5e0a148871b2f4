"""The judge and steering on a log: one candidate after the rows before it, or every row."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.base.errors import DataError, RatchetError
from ratchet.base.structs import Frozen, replace
from ratchet.base.text import one_line, plural
from ratchet.judge.judge import Assessment, Judge, replay
from ratchet.judge.settings import Settings, scale_from
from ratchet.judge.tradeoffs import MEMORY_TOLERANCE, Prices, credit, efficiency
from ratchet.logs.experiments import SAME_VALUE, LogCandidate, LogExperiments
from ratchet.logs.reader import RunLog, decode_text, read_run
from ratchet.logs.table import LogRow, RowStatus
from ratchet.records.records import CATEGORIES, Suggestion, Verdict
from ratchet.steering.bandit import (
    BanditPull,
    CategoryScore,
    SteeringMode,
    expected_gains,
    rank_categories,
    score_categories,
)
from ratchet.steering.categories import category_of, classify_change
from ratchet.steering.suggestions import Attempt, AttemptNote, crashes, exhausted, suggest_next

if TYPE_CHECKING:
    from ratchet.judge.judge import Replay


# --------------------------------------------------------------------
# A finished log judged and steered by: one candidate, every row, or what to try next.
#
# The judge is fed the rows before a candidate, or replays the whole log with the
# decisions that its author took; what is not in the log is assumed, and said.


EXIT_KEEP = 0


EXIT_DISCARD = 1


EXIT_RETEST = 2


class Answer(Frozen):
    """The verdict on one candidate.

    ``value``, ``incumbent``, ``best`` (of the rows kept before), ``delta``
    (value minus incumbent), ``noise_sd`` and ``gain`` are in the metric's unit;
    the first four also in its own direction, while a positive gain is better.
    ``confidence`` is the probability that the candidate is truly better.
    ``threshold`` is the gain that the
    candidate's lines and memory must bring, ``memory_ratio`` candidate over
    incumbent.
    """

    candidate: LogCandidate
    verdict: Verdict
    reason: str
    rule: str
    confidence: float | None = None
    value: float | None = None
    incumbent: float | None = None
    incumbent_sd: float | None = None
    best: float | None = None
    delta: float | None = None
    gain: float | None = None
    noise_sd: float | None = None
    noise_interval: tuple[float, float] | None = None
    keep_probability: float | None = None
    efficiency: tuple[float, float] | None = None
    expected_false_keeps: float | None = None
    threshold: float | None = None
    confidence_at_threshold: float | None = None
    memory_ratio: float | None = None

    @property
    def exit_code(self) -> int:
        """0 keep, 2 retest, 1 all else."""
        if self.verdict is Verdict.RETEST:
            return EXIT_RETEST
        return EXIT_KEEP if self.verdict.is_keep else EXIT_DISCARD

    @property
    def pareto(self) -> str:
        """EFFICIENT, DOMINATED or, without memory in the log, UNKNOWN."""
        if self.efficiency is None:
            return "UNKNOWN"
        return "EFFICIENT" if self.efficiency[0] >= 0.5 else "DOMINATED"


SCALE_RANGE = 10.0
"""Typical differences between candidates may be this many times larger or smaller
than the scale that the baseline gives suggests; beyond, they set the scale."""


DIFFERENCE_PER_SCALE = 3.0
"""Median size of a proposal's effect in effect scales, by the judge's prior."""


KNOWN_NOISE_SPAN = 0.05
"""Half-width, in ln, of the noise grid around a noise floor that the user states."""


REPLICATES = 5
"""Runs of one candidate after which no further one is asked for."""


MOST_MEMORY_RATIO = 50.0
"""No edit changes memory by such a factor; megabytes read as gigabytes do."""


MEMORY_STEP_GB = 0.1 + 1e-9
"""A log gives memory with one decimal; a change of the last digit may be none."""


RULE = "probability that the true metric is better"


class Rules(Frozen):
    """What the user chose: mode by name, noise floor in the metric's unit."""

    mode: str = "auto"
    noise_sd: float | None = None


class Paid(Frozen):
    """What the candidate adds and what that costs, in the metric's unit.

    ``None`` is the judge's own price, scaled to the metric.
    """

    lines: int = 0
    per_line: float | None = None
    per_log_memory: float | None = None

    def prices(self, settings: Settings) -> Prices:
        """The judge's prices with the user's in their place."""
        prices = Prices().scaled(settings.effect_scale)
        line, memory = self.per_line, self.per_log_memory
        return replace(
            prices,
            per_line=prices.per_line if line is None else line,
            per_log_memory=prices.per_log_memory if memory is None else memory,
        )


def settings_for(past: LogExperiments, planned: int, rules: Rules) -> tuple[Settings, list[str]]:
    """The judge's settings for a log, and what was assumed for them."""
    if not past.baseline_runs:
        raise DataError("expected a row with a metric before the one to judge, found none")
    scale, said = scale_from(past.baseline_runs), []
    typical = past.typical_difference
    if typical:
        ratio = typical / DIFFERENCE_PER_SCALE / scale
        if not 1 / SCALE_RANGE <= ratio <= SCALE_RANGE:
            scale *= ratio
            said.append(f"effects of a scale of {scale:.2g} are expected, as candidates differ so")
    settings = Settings.for_session(rules.mode, planned, scale, REPLICATES)
    if rules.noise_sd is not None:
        settings = replace(settings, noise_center=rules.noise_sd, noise_span=KNOWN_NOISE_SPAN)
    return settings, said


def replay_rows(past: LogExperiments, settings: Settings) -> Replay:
    """The judge after these rows, with the decisions that their author took."""
    return replay(past.values, past.kept, past.again, settings)


def judge_candidate(
    every: LogExperiments, candidate: LogCandidate, rules: Rules, paid: Paid | None = None
) -> tuple[Answer, list[str]]:
    """Judge one candidate by the rows before it.

    Unlike in a replay a re-run may be asked for, as this run can be repeated,
    and lines and memory have their price; past decisions are what they are.
    """
    paid = paid or Paid()
    past = every.before(candidate.since + 1)
    said = past.assumptions()
    if past.first is None:
        return _baseline(candidate), said
    settings, more = settings_for(past, len(every.rows), rules)
    state = replay_rows(past, settings).judge.to_dict()
    state["settings"]["max_replicates"] = settings.max_replicates
    judge = Judge.from_dict(state)
    if not candidate.values:
        return _crash(candidate, past, judge), [*said, *more]
    sign = past.table.direction.sign
    ratio = memory_ratio(candidate, past)
    threshold = _threshold(paid, past, judge, ratio)
    assessment = judge.assess([sign * value for value in candidate.values], threshold)
    answer = replace(
        _answer(candidate, past, judge),
        verdict=assessment.verdict,
        confidence=assessment.confidence,
        delta=sign * assessment.delta,
        gain=assessment.gain,
        keep_probability=assessment.keep_probability,
        reason=verdict_reason(assessment) + _said_of_price(threshold, ratio, paid),
        threshold=threshold,
        confidence_at_threshold=assessment.confidence_at_threshold,
        memory_ratio=ratio,
        efficiency=_efficiency(candidate, past, assessment, judge),
    )
    return answer, [*said, *more]


def verdict_reason(assessment: Assessment) -> str:
    """Why the verdict is what it is, in one sentence."""
    asked = assessment.threshold
    event = f"P(gain > {asked:.2g})" if asked else "P(better)"
    p, pk = f"{assessment.confidence_at_threshold:.2f}", f"{assessment.keep_probability:.2f}"
    gain = f"expected gain {assessment.gain:.2g}"
    if assessment.verdict is Verdict.RETEST:
        return (
            f"{event} is {p}; another run of the same code with a fresh seed is worth more "
            "than a new proposal"
        )
    if assessment.keep:
        return f"{event} {p} reaches the {pk} that a keep needs; {gain}"
    if assessment.confidence_at_threshold >= assessment.keep_probability:
        return f"{event} {p} would do, yet the {gain} is not above {asked:.2g}"
    if assessment.verdict is Verdict.MARGINAL:
        return f"more likely better than not, yet {event} {p} is below {pk}; {gain}"
    return f"{event} {p} is below the {pk} that a keep needs; {gain}"


def memory_ratio(candidate: LogCandidate, past: LogExperiments) -> float | None:
    """Memory of the candidate over the incumbent's; ``None`` unless both are known."""
    held = _kept_memory(past)
    return _ratio(held[-1], candidate.memory_gb) if held else None


def _ratio(before: float | None, after: float | None) -> float | None:
    """Growth of memory in GB, where both are known and of the same unit."""
    if not before or not after or after < 0:
        return None
    if abs(after - before) <= MEMORY_STEP_GB:
        return 1.0
    ratio = after / before
    return ratio if 1 / MOST_MEMORY_RATIO < ratio < MOST_MEMORY_RATIO else None


def _kept_memory(past: LogExperiments) -> list[float | None]:
    """Memory of each incumbent so far; none of a log is 0 or negative."""
    return [
        row.memory_gb if row.memory_gb is not None and row.memory_gb > 0 else None
        for row, keep, value in zip(past.rows, past.kept, past.values, strict=True)
        if keep and value is not None
    ]


def _threshold(paid: Paid, past: LogExperiments, judge: Judge, ratio: float | None) -> float:
    """Gain that the candidate must bring, in the metric's unit.

    Only a user who says what lines or memory are worth lets a simplification
    cost something: else no keep is expected to be worse.  Earlier keeps with less
    memory than their predecessor have used credit, whether or not they needed
    it; their lines nobody knows.
    """
    prices, noise_sd, used = paid.prices(judge.settings), judge.noise_sd, 0.0
    for before, after in pairwise(_kept_memory(past)):
        used += credit(prices.threshold(0, noise_sd, _ratio(before, after), used))
    threshold = prices.threshold(paid.lines, noise_sd, ratio, used)
    stated = paid.lines != 0 or paid.per_log_memory is not None
    return threshold if stated else max(0.0, threshold)


def _said_of_price(threshold: float, ratio: float | None, paid: Paid) -> str:
    """What is paid for, where anything is."""
    if threshold == 0:
        return ""
    parts = []
    free = ratio is None or abs(math.log(ratio)) <= Prices().memory_tolerance
    if ratio is not None and not free and paid.per_log_memory != 0:
        parts.append(f"memory {100 * (ratio - 1):+.0f} %")
    if paid.lines and paid.per_line != 0:
        parts.append(f"lines {paid.lines:+d}")
    verb = "must bring" if threshold > 0 else "may cost"
    return f"; {', '.join(parts)} {verb} {abs(threshold):.2g}"


def _answer(candidate: LogCandidate, past: LogExperiments, judge: Judge) -> Answer:
    """What holds for every verdict after the first row."""
    sign = past.table.direction.sign
    kept = [v for v, k in zip(past.values, past.kept, strict=True) if k and v is not None]
    values = candidate.values
    return Answer(
        candidate=candidate,
        verdict=Verdict.CRASH,
        reason="",
        rule=RULE,
        value=math.fsum(values) / len(values) if values else None,
        incumbent=sign * judge.incumbent_mean,
        incumbent_sd=judge.incumbent_sd,
        best=sign * min(kept) if kept else None,
        noise_sd=judge.noise_sd,
        noise_interval=judge.noise_interval(),
        keep_probability=judge.settings.keep_probability,
        expected_false_keeps=judge.expected_false_keeps,
    )


def _crash(candidate: LogCandidate, past: LogExperiments, judge: Judge) -> Answer:
    why = f"no valid {past.table.metric}"
    if candidate.evidence:
        why += f": {candidate.evidence}"
    return replace(_answer(candidate, past, judge), reason=why)


def _baseline(candidate: LogCandidate) -> Answer:
    """The first run of a log: there is nothing to compare it with."""
    if not candidate.values:
        why = f"no valid metric: {candidate.evidence}" if candidate.evidence else "no valid metric"
        return Answer(candidate, Verdict.CRASH, why, RULE)
    value = math.fsum(candidate.values) / len(candidate.values)
    why = "the baseline: there is no earlier run to compare it with"
    return Answer(candidate, Verdict.KEEP, why, RULE, value=value)


def _efficiency(
    candidate: LogCandidate, past: LogExperiments, assessment: Assessment, judge: Judge
) -> tuple[float, float] | None:
    """Bounds on P(no kept code of no more memory is better), if memory is known."""
    if candidate.memory_gb is None:
        return None
    limit = (1 + MEMORY_TOLERANCE) * candidate.memory_gb
    kept = [
        (value, row.memory_gb)
        for row, value, keep in zip(past.rows, past.values, past.kept, strict=True)
        if keep and value is not None and row.memory_gb is not None
    ]
    if not kept:
        return None
    # The incumbent's true metric is known better than by its one lucky run.
    incumbent = assessment.confidence if kept[-1][1] <= limit else 1.0
    smaller = [(v, m) for v, m in kept[:-1] if m <= min(limit, kept[-1][1] * 0.995)]
    rivals = sorted(smaller)[:20]
    mean = judge.incumbent_mean + assessment.delta
    bounds = efficiency(
        [mean, *(v for v, _ in rivals)],
        [judge.noise_sd / math.sqrt(assessment.n), *(judge.noise_sd for _ in rivals)],
        [candidate.memory_gb, *(m for _, m in rivals)],
    )[0]
    return bounds.low * incumbent, min(bounds.high, incumbent)


SHOWN_LINES = 6


def further_runs(every: LogExperiments) -> list[int]:
    """Lines of the rows that are further runs of the incumbent."""
    return [
        row.line
        for place, (row, again) in enumerate(zip(every.rows, every.again, strict=True))
        if again and place != every.first
    ]


def noise_source(
    every: LogExperiments, settings: Settings, stated: bool, by_differences: bool
) -> tuple[str, str]:
    """What the noise floor is from, and where it was looked for; ``settings`` are the replay's."""
    center = f"{settings.noise_center:.2g}"
    if stated:
        return f"stated as {center}, taken as known within 5 %", ""
    lines = further_runs(every)
    candidates = sum(value is not None for value in every.values) - len(lines) - 1
    scatter = f"the scatter of {plural(candidates, 'candidate')}, most of which change little"
    if by_differences:
        why = "a third of the median difference between candidates"
    elif len(every.baseline_runs) > 1:
        why = f"what {len(every.baseline_runs)} runs of the baseline show"
    else:
        why = "3e-4 of the metric, as val_bpb has after five minutes on one GPU"
    guess = f"looked for around {center}, which is {why}"
    if not lines:
        return f"assumed from {scatter}, as no row is a run of unchanged code", guess
    shown = ", ".join(map(str, lines[:SHOWN_LINES])) + (" …" if len(lines) > SHOWN_LINES else "")
    runs = f"{plural(len(lines), 'further run')} of the incumbent (line {shown})"
    return f"estimated from {runs} and {scatter}", guess


Sources = Callable[[str], tuple[Mapping[str, str], Mapping[str, str]] | None]
"""Texts before and after a commit, by its hash."""


UNNAMED = ("other",)
"""Categories that say nothing of what to try."""


SUGGESTIONS = 5
"""Suggestions that are made where nobody says how many."""


RELATIVE_GAIN = 5e-4
"""Gain worth having, as a share of the metric, where no noise floor is known."""


class JudgedRow(Frozen):
    """What the judge makes of a log; ``confidence`` and ``gain`` are by row."""

    noise_sd: float | None = None
    keep_probability: float = 0.7
    confidence: tuple[float | None, ...] = ()
    gain: tuple[float | None, ...] = ()
    notes: tuple[str, ...] = ()


class Steered(Frozen):
    """The analysis of one log.

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
    judged: JudgedRow


def judge_with_author(every: LogExperiments) -> JudgedRow:
    """Replay the log with its own decisions, as ``autojudge --all`` does.

    A log that cannot be judged (no metric at all) can still be steered by.
    """
    try:
        settings, notes = settings_for(every, len(every.rows), Rules())
        done = replay_rows(every, settings)
    except RatchetError as error:
        return JudgedRow(notes=(f"no noise floor: {error}",))
    return judged_by(done, notes)


def judged_by(done: Replay, notes: Sequence[str] = ()) -> JudgedRow:
    """The same from a log that was replayed already."""
    found = done.assessments
    return JudgedRow(
        noise_sd=done.judge.noise_sd,
        keep_probability=done.judge.settings.keep_probability,
        confidence=tuple(None if a is None else a.confidence for a in found),
        gain=tuple(None if a is None else a.gain for a in found),
        notes=tuple(notes),
    )


def attempts_of(
    every: LogExperiments, judged: JudgedRow, sources: Sources | None = None
) -> list[Attempt]:
    """The rows that tried a change, in order: no baseline, no re-run."""
    found = []
    for place, (row, number) in enumerate(zip(every.rows, every.numbers, strict=True)):
        if every.again[place] or row.status is RowStatus.BASELINE:
            continue
        if place == every.first and _is_start(row):
            continue
        texts = sources(row.commit) if sources is not None and row.commit else None
        old, new = texts if texts is not None else (None, None)
        crashed = row.status is RowStatus.CRASH or every.values[place] is None
        kept = row.status is RowStatus.KEEP
        found.append(
            Attempt(
                number=number,
                category=classify_change(row.description, old, new),
                description=row.description,
                kept=kept,
                crashed=crashed and not kept,
                gain=judged.gain[place] if judged.gain else None,
                confidence=judged.confidence[place] if judged.confidence else None,
                memory_gb=row.memory_gb,
            )
        )
    return found


def _is_start(row: LogRow) -> bool:
    """Whether the first row is the start; a log cut off before may open with a change."""
    return category_of(row.description) in (None, *UNNAMED)


def pulls_of(every: LogExperiments, attempts: list[Attempt]) -> list[BanditPull]:
    """What steering learns; gains the judge's, else the step down from the incumbent."""
    steps: dict[int, float] = {}
    incumbent: float | None = None
    for value, kept, number in zip(every.values, every.kept, every.numbers, strict=True):
        if value is not None and (kept or incumbent is None):
            steps[number] = 0.0 if incumbent is None else max(incumbent - value, 0.0)
            incumbent = value
    return [
        BanditPull(
            a.category, a.kept, steps.get(a.number, 0.0) if a.gain is None else max(a.gain, 0.0)
        )
        for a in attempts
    ]


def steer_by(
    every: LogExperiments,
    mode: SteeringMode,
    count: int,
    data: bytes,
    sources: Sources | None = None,
    judged: JudgedRow | None = None,
) -> Steered:
    """Steer by a log; the same bytes and mode give the same answer.

    ``judged`` spares the replay of a log that was judged already.
    """
    judged = judge_with_author(every) if judged is None else judged
    seed = int(hashlib.sha256(data).hexdigest()[:15], 16)
    attempts = attempts_of(every, judged, sources)
    pulls = pulls_of(every, attempts)
    values = [value for value in every.values if value is not None]
    scale = judged.noise_sd or RELATIVE_GAIN * abs(values[0] if values else 1.0)
    known = tuple(name for name in CATEGORIES if name not in UNNAMED)
    ranking = [
        name for name in rank_categories(pulls, seed, scale, mode, known) if name not in UNNAMED
    ]
    scores = score_categories(pulls)
    kept = [v for v, k in zip(every.values, every.kept, strict=True) if k and v is not None]
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
        baseline=sign * values[0] if values else None,
        best=sign * min(kept) if kept else None,
        judged=judged,
    )


class SourceFile(Frozen):
    """A file that the report rests on, by its name without folders."""

    name: str
    bytes: int
    sha256: str


class Edit(Frozen):
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
    edits: Mapping[int, Edit] | None = None

    @cached_property
    def categories(self) -> dict[int, str]:
        """Category by a row's number; none for the baseline and its further runs."""
        return {attempt.number: attempt.category for attempt in self.steered.attempts}


File = tuple[str, bytes]
"""A file's name, without the folders of this machine, and what it holds."""


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
    steered = steer_by(every, SteeringMode.AUTO, SUGGESTIONS, log[1], sources, judged_by(done))
    return LogSession(
        file=_file(log),
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


def _file(file: File) -> SourceFile:
    return SourceFile(file[0], len(file[1]), hashlib.sha256(file[1]).hexdigest())


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
    return RunFile(_file(file), text, number), [*run.assumptions, said]


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


def _edits(every: LogExperiments, sources: Sources) -> Mapping[int, Edit]:
    """Edits of the candidates whose commit the repository has, by number."""
    from ratchet.proposers.declared import unified_diff
    from ratchet.steering.code_diff import count_changes, net_code_lines

    found = {}
    for place, (row, number) in enumerate(zip(every.rows, every.numbers, strict=True)):
        if place == every.first or every.again[place] or not row.commit:
            continue
        texts = sources(row.commit)
        if texts is not None:
            text, added, removed = unified_diff(*texts)
            found[number] = Edit(
                text, added, removed, net_code_lines(*texts), count_changes(*texts)
            )
    return found


# --------------------------------------------------------------------
# ``autosteer``: what to try next, by the log of an autoresearch session.
#
#     autosteer --results results.tsv
#     autosteer --results results.tsv --mode exploit --repo .
#
# Exit codes: 0, or 64 usage, 65 data, 66 no input, 70 internal.  Suggestions go to
# standard output, assumptions and problems to standard error.  The same log gives
# the same suggestions.  The log and the repository are never written.


MOST_SUGGESTIONS = 20
