"""Columns of a log: recognised by name, by what stands in them, and by the author's decisions.

A column is read where name and decisions leave one reading.  Where two stay possible, the
error names both and the option that settles it.
"""

import re
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise

from ratchet.base.errors import DataError
from ratchet.base.structs import Frozen, Struct, field
from ratchet.base.text import one_line
from ratchet.logs.table import RowStatus, first_of, quoted
from ratchet.logs.words import (
    MISSING,
    NO_DECISION,
    RATE,
    REASON,
    TIME_PER,
    direction_of,
    is_number,
    normal_name,
    readable_number,
    status_of,
)
from ratchet.records.records import Direction
from ratchet.records.results_table import MEMORY_COLUMN

STATUS_NAMES = str.split(
    "status decision verdict outcome kept keep accepted promoted action result state"
)
_DECIDING = STATUS_NAMES.index("action")
FLAG_NAMES = {"kept", "keep", "accepted", "promoted", "is_best", "improved"}
_STATUS_END = re.compile(r"_(status|decision|verdict)$")

COMMIT_NAMES = str.split("""commit git_commit commit_hash commit_sha sha git_sha hash solver_sha
    config_id run_id experiment_id exp_id experiment exp id run trial gen generation iteration iter
    nnn number name tag round cycle""")

DESCRIPTION_NAMES = str.split("""description desc hypothesis change changes change_summary summary
    insight notes note comment comments message idea agent_idea title what details flags""")

AGENT_NAMES = str.split("agent agent_id agent_name worker worker_id actor author gpu")
METRIC_LABELS = ("metric", "metric_name", "metricname", "target", "objective")
SUBJECT_NAMES = (*METRIC_LABELS, "task", "benchmark", "dataset", "problem", "suite", "env")
VALUE_NAMES = str.split("value metric_value metric result score")
MEMORY_NAME = re.compile(r"(^|_)(mem|memory|vram|ram|rss)(_|$)")

PREFERRED = str.split("val_bpb metric_after metric val_loss objective fitness score value")
_METRIC_NAME = re.compile(r"(primary_|main_)?metric(_(after|value|new|[a-z]{1,2}))?")
# What a run used, how it was set up, or when it was: a metric only where nothing else is.
_RESOURCE = re.compile(
    r"^(n|num|train|training|compile|build)_|(^|_)(size|bytes|params|flops|vram)(_|$)|"
    r"(^|_)(n|num|counts?|steps?|epochs?|samples?|seeds?|rounds?|runs?|iters?|iterations?|times?|"
    r"timestamp|date|batch|threshold|lr|depth|tokens|hours?|minutes?|mins?|seconds?|secs?|s|"
    r"duration|elapsed|mhz|segment|id|lines?|loc|gen|trades|layers?|width|cost|usd|rank|prior|mfu|"
    r"artifact|[kmg]i?b)(_([kmgb]|s|mib|[mg]b))?$"
)
# Another column's value of an earlier row, its difference to one, or how sure it is.
_DERIVED = re.compile(
    r"(^|_)(delta|diff|difference|improvement|before|old|prev|previous|last|parent|baseline|"
    r"control|incumbent|champion|confidence|std|sd|stdev|stderr|sem|p_?value|(seed|fold)_?\d+)(_|$)"
)
_HELD_OUT = ("val_", "valid_", "test_", "eval_")
# A best of what, a time of what: such a name alone does not make a quality.
_VAGUE = re.compile(r"(^|_)(best|so_far)(_|$)|_(ms|us|µs|ns)$")


def names_no_goal(plain: str) -> bool:
    """Whether a normalised name is that of a resource, of a setting, or of a derived number."""
    return bool(_RESOURCE.search(plain) or _DERIVED.search(plain))


_ENOUGH_KEEPS = 5  # So many steps between kept values tell a direction; fewer may be chance.
_ONE_WAY = 0.9  # Share of steps that must go one way, to be clear.
_NO_WAY = 0.75  # Below this share of steps one way, kept values are no records.


class Votes(Frozen):
    """How the author decided about values.

    Steps from the incumbent's value to the next, of kept and of discarded rows, down
    and up, and pairs of kept rows whose later value is lower and higher.
    """

    keep_down: int
    keep_up: int
    drop_down: int
    drop_up: int
    pairs_down: int
    pairs_up: int

    @property
    def keeps(self) -> int:
        """Number of kept rows that changed the value."""
        return self.keep_down + self.keep_up

    @property
    def total(self) -> int:
        """Number of rows that the author decided, with another value than the incumbent's."""
        return self.keeps + self.drop_down + self.drop_up

    def share(self, direction: Direction) -> float:
        """Share of steps or of pairs of kept rows, whichever is larger, that fit a direction."""
        down = (self.keep_down, self.keep_up), (self.pairs_down, self.pairs_up)
        fits = [fit if direction is Direction.MINIMIZE else fit[::-1] for fit in down]
        return max(fit / ((fit + against) or 1) for fit, against in fits)

    def fit(self, direction: Direction) -> float:
        """Share of steps of kept and of discarded rows that fit a direction."""
        down = self.keep_down + self.drop_up
        return (down if direction is Direction.MINIMIZE else self.total - down) / (self.total or 1)

    @property
    def clear(self) -> Direction | None:
        """Direction of the kept rows where they speak clearly."""
        best = max(Direction, key=self.share)
        return best if self.keeps >= _ENOUGH_KEEPS and self.share(best) >= _ONE_WAY else None

    @property
    def likely(self) -> Direction | None:
        """Direction of all decisions, where kept and discarded rows agree."""
        best = max(Direction, key=self.fit)
        enough = self.total > self.keeps >= 2 and self.total >= _ENOUGH_KEEPS
        return best if enough and self.share(best) == 1 and self.fit(best) >= _ONE_WAY else None

    def contradicts(self, direction: Direction) -> bool:
        """Whether the decisions, too few to be clear, mostly go the other way."""
        other = next(way for way in Direction if way is not direction)
        kept = self.keeps >= 2 and self.share(other) >= _NO_WAY > self.share(direction)
        every = self.total >= _ENOUGH_KEEPS and self.fit(other) >= _NO_WAY
        return kept or (every and self.keeps > 0 and self.share(other) > self.share(direction))


def votes_of(rows: Iterable[tuple[float | None, RowStatus | None]]) -> Votes:
    """How the author decided about values, in the log's order."""
    steps: Counter[tuple[RowStatus, bool]] = Counter()
    incumbent = None
    kept: list[float] = []
    down = up = 0
    for value, status in rows:
        if value is None or status in (None, RowStatus.CRASH, RowStatus.NOTE):
            continue
        if incumbent is not None and value != incumbent:
            steps[status, value < incumbent] += 1
        if incumbent is None or status in (RowStatus.KEEP, RowStatus.BASELINE):
            incumbent = value
        if status is RowStatus.KEEP:
            down += len(kept) - bisect_right(kept, value)
            up += bisect_left(kept, value)
            insort(kept, value)
    keep, drop = RowStatus.KEEP, RowStatus.DISCARD
    kept_steps = steps[keep, True], steps[keep, False]
    return Votes(*kept_steps, steps[drop, True], steps[drop, False], down, up)


_SAMPLE = 400  # Rows from which columns are recognised; a choice does not need more.
_STATED = 0.5  # Share of filled cells that must read as a status in a column named for it.
_DECIDED = 0.3  # Share that must be decisions; that runs ended says nothing about what was kept.
_CERTAIN = 0.9  # The same share in a column whose name does not say so.


class Columns(Frozen):
    """Places of the columns in a row, from 0; ``None`` where there is none.

    ``label`` is a column that says what each row is about, ``about`` what the
    rows that count are about, ``words`` what the user's own status words mean
    and ``own`` says that the table is in Karpathy's five columns, where 0.000000
    is no metric.
    """

    names: tuple[str, ...]
    metric: int
    metric_name: str
    status: int
    commit: int | None
    memory: int | None
    description: int | None
    agent: int | None
    label: int | None = None
    about: str = ""
    flag: bool = False
    own: bool = False
    words: Mapping[str, RowStatus] = {}
    assumptions: tuple[str, ...] = ()


def find_columns(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    name: str,
    metric: str | None = None,
    status: Sequence[str] = (),
    label: str | None = None,
) -> Columns:
    """Recognise the columns of a table.

    ``metric`` is the user's choice of a column, ``status`` that of a column and
    ``WORD=MEANING`` of the author's status words, and ``label`` what the rows
    that count are about.  Raises :class:`DataError` where no column can be the
    status or the metric, two can, or the user's choice is none of them.
    """
    names = tuple(one_line(text).strip("|*`\"' ") for text in header)
    # Rows of another width may have other columns.
    whole = [row for row in rows if len(row) == len(names)]
    sample = (whole if len(whole) >= max(3, 0.1 * len(rows)) else rows)[:_SAMPLE]
    words = dict(_word(text, name) for text in status if "=" in text)
    stated = next((text for text in status if "=" not in text), None)
    finder = _Finder(names, [normal_name(text) for text in names], sample, name, words)
    own = ("commit", MEMORY_COLUMN, "status", "description")
    five = len(names) == 5 and (names[0], *names[2:]) == own and metric in (None, names[1])
    if five and stated in (None, "status") and label is None:
        texts = {text.lower() for text in finder.cells(3)}
        sure = {status_of(text, words=words) for text in texts - NO_DECISION.keys()}
        if sure - {RowStatus.CRASH} or not texts & NO_DECISION.keys():
            return Columns(names, 1, names[1], 3, 0, 2, 4, None, own=True, words=words)
    place = finder.chosen(stated) if stated is not None else finder.status()
    flag = finder.plain[place] in FLAG_NAMES
    commit = finder.named(COMMIT_NAMES, besides=(place,))
    description = finder.named(DESCRIPTION_NAMES, besides=(place, commit))
    agent = finder.named(AGENT_NAMES, besides=(place, commit, description))
    memory = finder.memory()
    labels, about = finder.label(label, metric)
    taken = (place, commit, description, agent, memory, labels)
    finder.decisions = [status_of(row[place], flag, words) for row in finder.full(place)]
    finder.decided = finder.full(place)
    value = finder.metric(metric, taken, labels)
    named = labels is not None and finder.plain[labels] in METRIC_LABELS
    title = about if named and finder.plain[value] in VALUE_NAMES else names[value]
    memory = None if memory == value else memory
    places = names, value, title, place, commit, memory, description, agent, labels
    said = tuple(finder.assumptions)
    return Columns(*places, about=about, flag=flag, words=words, assumptions=said)


def _word(text: str, file: str) -> tuple[str, RowStatus]:
    word, _, meaning = text.partition("=")
    try:
        return word.strip().lower(), RowStatus(meaning.strip().lower())
    except ValueError:
        raise DataError(
            f"{file}: expected a status word and its meaning ({', '.join(RowStatus)}), such as "
            f"{one_line(word)[:30]}=keep, found {quoted(text)}"
        ) from None


class _Candidate(Frozen, dict=True):
    """A column of numbers that may be the metric, and what the author decided about its rows."""

    place: int
    plain: str
    values: tuple[float | None, ...]
    decisions: tuple[RowStatus | None, ...]

    @cached_property
    def votes(self) -> Votes:
        """What the author decided about these values."""
        return votes_of(zip(self.values, self.decisions, strict=True))

    @cached_property
    def kind(self) -> int:
        """By its name: 0 a usual metric, 1 a quality, 2 unknown, 3 a resource, 4 derived."""
        plain = self.plain
        if _DERIVED.search(plain):
            return 4
        if plain in PREFERRED or _METRIC_NAME.fullmatch(plain):
            return 0
        if not RATE.search(plain) and not TIME_PER.search(plain) and _RESOURCE.search(plain):
            return 3
        vague = _VAGUE.search(plain) or direction_of(plain) is None
        return 2 if vague and not plain.startswith(_HELD_OUT) else 1

    def is_denied(self, keeps: int = _ENOUGH_KEEPS) -> bool:
        """Whether so many kept rows, or more, are no records of it."""
        most = max(self.votes.share(way) for way in Direction)
        return self.votes.keeps >= keeps and most < _NO_WAY

    @property
    def is_confirmed(self) -> bool:
        """Whether every decision fits the direction that the name says."""
        way, votes = direction_of(self.plain), self.votes
        return bool(way and votes.total > votes.keeps > 0 and votes.fit(way) == 1)

    def why_not(self) -> str:
        """Why its values cannot be a metric, whatever its name is; empty if they can."""
        pairs = list(zip(self.values, self.decisions, strict=True))
        runs = [v for v, s in pairs if s not in (RowStatus.CRASH, RowStatus.NOTE)]
        values = [value for value in runs if value is not None]
        if len(values) < 0.5 * len(runs):
            return f"is filled in {len(values)} of {len(runs)} rows"
        if len(values) >= 3 and len(set(values)) == 1:
            return "is constant"
        kept = [v for v, s in pairs if s is RowStatus.KEEP]
        empty = sum(not value for value in kept)
        if self.kind >= 2 and 2 * empty > len(kept) >= 3:
            return f"is 0 or missing in {empty} of {len(kept)} kept rows"
        every = [value for value in self.values if value is not None]
        steps = [b - a for a, b in pairwise(every)]
        unkept = [s for s in self.decisions if s is RowStatus.DISCARD]
        counts = sum(step == 1 for step in steps) >= 0.8 * len(steps)
        # A few runs of a metric may each be worse than the one before.
        grows = (len(unkept) > 1 or self.kind == 3) and all(step > 0 for step in steps)
        if len(steps) >= 3 and (counts or (grows and (self.kind >= 2 or len(steps) >= 7))):
            return "counts the rows"
        later = list(zip(self.values, self.values[1:], self.decisions[1:], strict=False))
        same = [a == b for a, b, s in later if s is RowStatus.DISCARD and None not in (a, b)]
        if len(same) >= 3 and sum(same) >= _CERTAIN * len(same):
            return "repeats the value before it in rows that were not kept"
        return ""


class _Finder(Struct):
    """Looks for columns in a header and a sample of rows."""

    names: tuple[str, ...]
    plain: list[str]
    rows: Sequence[Sequence[str]]
    file: str
    words: Mapping[str, RowStatus]
    assumptions: list[str] = field(default_factory=list)
    decided: Sequence[Sequence[str]] = ()
    decisions: Sequence[RowStatus | None] = ()

    def full(self, place: int) -> list[Sequence[str]]:
        """Rows that reach a column."""
        return [row for row in self.rows if place < len(row)]

    def cells(self, place: int) -> list[str]:
        """Filled cells of a column."""
        return [cell for row in self.full(place) if (cell := row[place].strip())]

    def fault(self, expected: str) -> DataError:
        """The error that names the file, and what was expected of its columns."""
        return DataError(f"{self.file}: line 1, column 1: expected {expected}")

    def chosen(self, name: str) -> int:
        """The column of the user's choice."""
        plain = normal_name(name)
        if plain not in self.plain:
            raise self.fault(f"a column {quoted(name)}, found {_listed(self.names)}")
        return self.plain.index(plain)

    def named(self, known: Sequence[str], besides: tuple[int | None, ...]) -> int | None:
        """The column of the first known name."""
        free = [p for p, plain in enumerate(self.plain) if plain in known and p not in besides]
        return min(free, key=lambda p: known.index(self.plain[p]), default=None)

    def _decisions(self, place: int) -> tuple[float, float, set[RowStatus]]:
        """Share of a column's cells that are status words, that are decisions, and which ones."""
        texts = [text.lower() for text in self.cells(place) if text.strip("-–—*` ")]
        heads = [REASON.split(text, maxsplit=1)[0].strip() for text in texts]
        plain = self.plain[place]
        stated = plain in STATUS_NAMES or _STATUS_END.search(plain)
        if len({*heads}) > max(8, len(texts) / 3) and not stated:
            return 0.0, 0.0, set()
        flag = plain in FLAG_NAMES
        short = [text for text, head in zip(texts, heads, strict=True) if len(head.split()) <= 4]
        meant = {text: status_of(text, flag, self.words) for text in {*short}}
        known = [text for text in short if meant[text] is not None]
        told = [text for text in known if text in self.words or text not in NO_DECISION]
        kinds = {status for text in told if (status := meant[text]) is not None}
        return len(known) / max(len(texts), 1), len(told) / max(len(texts), 1), kinds

    def status(self) -> int:
        """The column that says what was kept."""
        found = {place: self._decisions(place) for place in range(len(self.names))}
        named = [p for word in STATUS_NAMES for p, plain in enumerate(self.plain) if plain == word]
        named += [p for p, plain in enumerate(self.plain) if _STATUS_END.search(plain)]
        stated = [p for p in named if found[p][0] >= _STATED]
        kinds = {RowStatus.KEEP, RowStatus.DISCARD}, {RowStatus.BASELINE, RowStatus.PENDING}
        enough = [p for p in stated if found[p][1] >= _DECIDED]
        for telling in ([p for p in enough if kind & found[p][2]] for kind in kinds):
            if telling:
                others = [p for p in telling[1:] if self.plain[p] in STATUS_NAMES[:_DECIDING]]
                self._agree(telling[0], others)
                return telling[0]
        sure = [p for p, told in found.items() if told[1] >= _CERTAIN and kinds[0] <= told[2]]
        if len(sure) == 1:
            self.assumptions.append(f"{quoted(self.names[sure[0]])} says what was kept")
            return sure[0]
        if sure:
            raise self.fault(
                "one column that says what was kept, found "
                f"{_listed(self.names[p] for p in sure)}; choose one with --status"
            )
        if named:
            raise self.fault(self._no_decisions(named[0]))
        raise self.fault(
            "a column that says what was kept (status, decision, verdict, kept), found "
            f"{_listed(self.names)}; name one with --status"
        )

    def _no_decisions(self, place: int) -> str:
        found = first_of((repr(one_line(t)[:30]) for t in dict.fromkeys(self.cells(place))), 5)
        return (
            f"decisions in the column {quoted(self.names[place])} (keep, discard, crash), found "
            f"{found or 'only empty cells'}; choose another of {_listed(self.names)} with --status "
            "COLUMN, or say what a word means: --status WORD=keep"
        )

    def _agree(self, place: int, others: Sequence[int]) -> None:
        """Refuse two columns of decisions that contradict each other."""
        flags = [plain in FLAG_NAMES for plain in self.plain]
        both = {RowStatus.KEEP, RowStatus.DISCARD}
        for other in others:
            pairs = [
                {status_of(row[p], flags[p], self.words) for p in (place, other)}
                for row in self.full(max(place, other))
            ]
            if sum(pair == both for pair in pairs) > 0.1 * len(pairs):
                raise self.fault(
                    f"one column that says what was kept, found {quoted(self.names[place])} and "
                    f"{quoted(self.names[other])}, which differ; choose one with --status"
                )

    def memory(self) -> int | None:
        """The column of the peak memory, in gigabytes if there is a choice."""
        found = [p for p, plain in enumerate(self.plain) if MEMORY_NAME.search(plain)]
        return min(found, key=lambda p: (not self.plain[p].endswith("gb"), p), default=None)

    def label(self, chosen: str | None, metric: str | None) -> tuple[int | None, str]:
        """A column that says what each row is about, and what the rows that count are about.

        Names of metrics count where another column holds the values; of tasks,
        targets and the like only what the user chose.
        """
        found = []
        for place, plain in enumerate(self.plain):
            cells = self.cells(place)
            if plain in SUBJECT_NAMES and cells and not any(is_number(cell) for cell in cells):
                found.append((place, cells))
        if chosen is not None:
            for place, cells in found:
                if chosen in cells:
                    return place, one_line(chosen)
            known = first_of(dict.fromkeys(one_line(c)[:40] for _, each in found for c in each), 8)
            raise self.fault(f"rows about {quoted(chosen)} (--label), found {known or 'no labels'}")
        for place, cells in found:
            values = self.named(VALUE_NAMES, besides=(place,))
            others = {*cells} - {one_line(metric or "")}
            if self.plain[place] in METRIC_LABELS and values is not None and metric is None:
                return place, self._most_frequent(place, cells)
            if len(cells) > len(others) >= 2 and self.plain[place] not in METRIC_LABELS[:3]:
                self.assumptions.append(
                    f"rows are about {len(others)} of {quoted(self.names[place])}; read as one "
                    "session (choose one with --label)"
                )
        return None, ""

    def _most_frequent(self, place: int, cells: Sequence[str]) -> str:
        """The metric that most rows are about."""
        counts = sorted(((cells.count(cell), cell) for cell in dict.fromkeys(cells)), reverse=True)
        names = [name for _, name in counts]
        if len(counts) > 1 and counts[0][0] < 2 * counts[1][0]:
            raise self.fault(
                f"rows about one metric, found {_listed(names)} in {quoted(self.names[place])}; "
                "choose one with --label"
            )
        if len(counts) > 1:
            said = f"rows of {len(counts) - 1} metrics other than {one_line(names[0])}"
            self.assumptions.append(f"{said} are not judged (choose with --label)")
        return one_line(names[0])

    def metric(
        self, chosen: str | None, taken: tuple[int | None, ...], label: int | None = None
    ) -> int:
        """The column of the metric.

        Columns that cannot be it are left out.  Of the others the leftmost and
        the one with the better name compete, and the author's decisions settle
        between the two, and against both.
        """
        if chosen is not None:
            return self.chosen(chosen)
        if label is not None and (at := self.named(VALUE_NAMES, besides=(label,))) is not None:
            return at
        places = [p for p, plain in enumerate(self.plain) if plain and p not in taken]
        free = [c for p in places if (c := self._candidate(p))]
        memory = [] if free or (place := self.memory()) is None else [self._candidate(place)]
        free += [c for c in memory if c]
        reasons = {c.place: c.why_not() for c in free}
        left = [c for c in free if not reasons[c.place]] or [c for c in free if c.kind <= 2]
        coarse = [c for c in free if c.kind <= 1 and reasons[c.place].startswith("repeats")]
        usual = [c for c in left if c.kind <= 2] or coarse
        rest = usual or [c for c in left if c.kind == 3] or [c for c in left if c.votes.clear]
        if not rest:
            why = {c.place: reasons[c.place] or "holds differences or old values" for c in free}
            out = first_of((f"{one_line(self.names[p])[:40]} {why[p]}" for p in why), 6)
            raise self.fault(
                f"a column of numbers that is the metric, found {_listed(self.names)}"
                f"{f' ({out})' if out else ''}; name it with --metric"
            )
        pick = self._settled(rest[0], min(rest, key=lambda c: (c.kind, c.place)))
        named = [c.place for c in free if c.kind <= 2 and direction_of(c.plain)]
        if named and not usual and not pick.votes.clear:
            raise self.fault(
                f"a metric that tells runs apart, found {quoted(self.names[named[0]])}, which "
                f"{reasons[named[0]]}; name it with --metric, such as {self.names[pick.place][:60]}"
            )
        better = [c for c in usual if c is not pick and c.kind <= 1 and c.is_confirmed]
        fits = (own := direction_of(pick.plain)) is None or pick.votes.fit(own) >= _NO_WAY
        if pick.kind and better and not (fits or pick.votes.clear):
            raise self._two(pick, better[0])
        # Authors write the metric first; if that one cannot be it, none is known to be.
        first = next((c for c in free if c.kind <= 1), pick)
        if reasons[first.place] and pick.kind and len(rest) > 1 and not pick.votes.clear:
            raise self._two(pick, next(c for c in rest if c is not pick))
        rivals = [c for c in left if c.kind <= 3 and c.votes.clear]
        alike = [c for c in rest if c is not pick and c.kind <= pick.kind > 0]
        doubted = pick.is_denied(3) and alike and not pick.plain.startswith(_HELD_OUT)
        if pick.is_denied() and rivals:
            rival = min(rivals, key=lambda c: (c.kind, c.place))
            if rival.kind == 3:
                raise self._two(pick, rival)
            pick = rival
        elif len(rest) > 1 and not pick.votes.clear and (not usual or doubted):
            raise self._two(pick, next(c for c in rest if c is not pick))
        self._say(pick, left, reasons)
        return pick.place

    def _candidate(self, place: int) -> _Candidate | None:
        """A column that holds numbers, or that is empty and named as a metric, or ``None``.

        Raises :class:`DataError` for one that is named as the metric and holds numbers in words.
        """
        cells = [cell for cell in self.cells(place) if cell.lower() not in MISSING]
        numbers = sum(is_number(cell) for cell in cells)
        if numbers > 0.5 * len(cells) or (not cells and direction_of(self.plain[place])):
            values = (
                readable_number(row[place]) if place < len(row) else None for row in self.decided
            )
            return _Candidate(place, self.plain[place], tuple(values), tuple(self.decisions))
        odd = [cell for cell in cells if re.match(r"[+-]?\d[\d.,]*\s*\S", cell)]
        if _METRIC_NAME.fullmatch(self.plain[place]) and len(odd) > 0.5 * len(cells):
            raise self.fault(
                f"numbers in the column {quoted(self.names[place])}, found {quoted(odd[0])}; name "
                "a column of numbers with --metric"
            )
        return None

    def _settled(self, first: _Candidate, named: _Candidate) -> _Candidate:
        """The leftmost column or the one with the better name."""
        if first is named:
            return first
        if clear := [c for c in (first, named) if c.votes.clear]:
            return clear[0]
        if named.kind == 0 and (first.kind == 2 or named.plain.startswith("val")):
            return named
        raise self._two(first, named)

    def _two(self, one: _Candidate, other: _Candidate) -> DataError:
        one, other = sorted((one, other), key=lambda c: c.place)
        names = quoted(self.names[one.place]), quoted(self.names[other.place])
        return self.fault(
            f"one column that is the metric, found {names[0]} and {names[1]}, and the kept rows do "
            f"not tell which; choose one with --metric {one_line(self.names[one.place])[:60]}"
        )

    def _say(
        self, pick: _Candidate, left: Sequence[_Candidate], reasons: Mapping[int, str]
    ) -> None:
        others = [self.names[c.place] for c in left if c is not pick and c.kind <= 2]
        said = f", not {_listed(others)} (choose with --metric)" if others else ""
        before = [p for p, reason in reasons.items() if reason and p < pick.place]
        out = first_of((f"{one_line(self.names[p])[:40]} {reasons[p]}" for p in before), 6)
        if said or out:
            out = f"; left out: {out}" if out else ""
            self.assumptions.append(f"the metric is {quoted(self.names[pick.place])}{said}{out}")


def _listed(names: Iterable[str]) -> str:
    return first_of((one_line(name)[:40] for name in names), 12)
