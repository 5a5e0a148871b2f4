"""Columns of a log: recognised by their names, and by what stands in them."""

import math
import re
from collections.abc import Mapping, Sequence

from ratchet.base.errors import DataError
from ratchet.base.structs import Frozen
from ratchet.base.text import one_line
from ratchet.logs.table import RowStatus, first_of, quoted
from ratchet.records.records import Direction
from ratchet.records.results_table import MEMORY_COLUMN

_STATUS_WORDS: Mapping[RowStatus, str] = {
    RowStatus.KEEP: """keep keeps kept best accept accepted approve approved merge merged improved
        improvement win winner success confirmed adopted adopt committed promote promoted strong""",
    RowStatus.DISCARD: """discard discarded drop dropped revert reverted reject rejected rollback
        neutral parked park worse regression regressed marginal undo undone abandoned loss lost
        failed_gate no_improvement not_kept""",
    RowStatus.CRASH: """crash crashed oom timeout timedout error errored invalid fail failed failure
        killed nan diverged aborted abort tampered no_json checks_failed exception broken
        no_metric guard_failed""",
    RowStatus.BASELINE: "baseline base reference initial",
    RowStatus.PENDING: """pending running retest rerun inconclusive queued started todo
        in_progress unknown open waiting tbd""",
    RowStatus.NOTE: """note notes info comment skip skipped blocked done complete completed analysis
        research config summary milestone screen""",
}

STATUSES = {word: status for status, words in _STATUS_WORDS.items() for word in words.split()}

FLAGS = {
    **dict.fromkeys(("true", "yes", "y", "1", "t", "✓", "✅"), RowStatus.KEEP),
    **dict.fromkeys(("false", "no", "n", "0", "f", "✗", "❌"), RowStatus.DISCARD),
}

_NEGATIONS = {"not", "no", "non", "never", "don", "didn"}
_WORD = re.compile(r"[a-z]+")
_words = str.split
STATUS_NAMES = _words("status decision verdict outcome kept keep accepted action result state")
FLAG_NAMES = {"kept", "keep", "accepted", "is_best", "improved"}

COMMIT_NAMES = _words("""commit git_commit commit_hash commit_sha sha git_sha hash solver_sha
    config_id run_id experiment_id exp_id experiment exp id run trial gen generation iteration iter
    nnn number name tag round""")

DESCRIPTION_NAMES = _words("""description desc hypothesis change changes summary insight notes note
    comment comments message idea title what details flags""")

AGENT_NAMES = _words("agent agent_id agent_name worker worker_id actor author gpu")
METRIC_LABELS = {"metric", "metric_name"}
VALUE_NAMES = ("value", "metric_value", "result", "score")
MEMORY_NAME = re.compile(r"(^|_)(mem|memory|vram|ram)(_|$)")

# Columns that count, date or describe a run; a metric only if nothing else is.
NOT_A_METRIC = re.compile(
    r"(^|_)(n|num|count|steps?|epochs?|samples?|seeds?|rounds?|runs?|iters?|iterations?|"
    r"times?|timestamp|date|params?|batch|size|threshold|before|delta|diff|lr|depth|tokens|"
    r"hours?|minutes?|mins?|seconds?|secs?|duration|mhz|segment|confidence|id|line|lines|gen|"
    r"trades|layers?|width|cost|usd|baseline|prev|previous|parent|std|sd|stdev|rank)(_|$)"
)

PREFERRED = _words("val_bpb metric_after metric val_loss objective fitness score value")

_LOWER = set(
    _words("""bpb bpc loss ppl perplexity err error errors rmse mse mae mape nll wer cer ter fid kid
        latency seconds secs ms time cost regret entropy drawdown dd nrmse brier ece size bytes
        memory mem vram energy bits gap violations misses divergence distance lpips flops params""")
)

_HIGHER = set(
    _words("""acc accuracy score auc auroc auprc f1 f2 r2 psnr ssim sharpe sortino calmar reward
        rewards profit pnl success win wins map map50 recall precision bleu rouge meteor cider
        throughput tps qps fps mfu iou miou dice return returns elo gain speedup pass passed
        correct ndcg mrr fitness tok toks corr correlation spearman pearson kappa mcc solved rating
        ic jaccard coverage utility likelihood hits""")
)

MISSING = {"", "n/a", "–", "—", "∞"} | set(
    _words("""- -- --- na nan none null inf +inf -inf infinity -infinity diverged crash crashed oom
        timeout error fail failed failure invalid tbd ? pending running skipped""")
)

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+\.\d+", re.ASCII)
_UNIT = re.compile(r"\s*(gib|gb|g|mib|mb|m)$", re.IGNORECASE)


def normal_name(text: str) -> str:
    """A column's name as compared: lower case, words joined by underscores."""
    return re.sub(r"[^a-z0-9#/]+", "_", text.strip().lower().strip("|*`\"'# ")).strip("_")


def status_of(text: str, flag: bool = False) -> RowStatus | None:
    """Meaning of a status cell; ``None`` where it says nothing clear.

    The first known word decides, unless the leading words contradict each
    other; ``not`` before a keep makes it a discard.  An empty cell is pending.
    """
    plain = text.strip().lower()
    if plain.strip("-–—*` ") == "":
        return RowStatus.PENDING
    if flag and plain in FLAGS:
        return FLAGS[plain]
    whole = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    if whole in STATUSES:
        return STATUSES[whole]
    # What follows in brackets or after a colon is the author's reason.
    words = _WORD.findall(re.split(r"[(\[:;,—–/]", plain, maxsplit=1)[0])[:4]
    if whole.startswith(("checks_failed", "no_json")):
        return RowStatus.CRASH
    meant = [STATUSES[word] for word in words if word in STATUSES]
    if words and words[0] in _NEGATIONS:
        return RowStatus.DISCARD if RowStatus.KEEP in meant else None
    if not words or words[0] not in STATUSES:
        return None
    if words[0] == "confirmed" and len(meant) > 1:
        meant = meant[1:]
    leading = {STATUSES[word] for word in words[:2] if word in STATUSES}
    if {RowStatus.KEEP, RowStatus.DISCARD} <= leading and words[0] != "confirmed":
        return None
    return meant[0]


def number_of(text: str) -> float | None:
    """A cell's finite number; ``None`` for a marker that there is none.

    Percent signs and emphasis are passed over.  Raises :class:`ValueError`
    for anything else: what looks nearly like a number is not guessed at.
    """
    plain = text.strip().strip("*`").strip()
    if plain.lower() in MISSING:
        return None
    if plain.endswith("%"):
        plain = plain[:-1].rstrip()
    if _GROUPED.fullmatch(plain):
        plain = plain.replace(",", "")
    if not _NUMBER.fullmatch(plain):
        raise ValueError(text)
    value = float(plain)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def is_number(text: str) -> bool:
    """Whether a cell is a finite number."""
    try:
        return number_of(text) is not None
    except ValueError:
        return False


def memory_of(text: str, name: str) -> float | None:
    """Gigabytes in a memory cell, by its own unit or by the column's name.

    Raises :class:`ValueError` for what is neither a number nor a marker.
    """
    unit = _UNIT.search(text.strip())
    value = number_of(text.strip()[: unit.start()] if unit else text)
    if value is None:
        return None
    suffix = unit.group(1).lower() if unit else name.lower()
    mega = suffix in ("m", "mb", "mib") if unit else suffix.endswith(("_mb", "_mib"))
    gigabytes = value / 1024 if mega else value
    return gigabytes if gigabytes > 0 else None


def direction_of(name: str) -> Direction | None:
    """Direction of a metric by its name; ``None`` where it does not say."""
    words = [w for w in re.split(r"[^a-z0-9]+", name.lower()) if w]
    # The last telling word names the quantity: loss_gain is a gain.
    for word in reversed(words):
        if word in _LOWER or word.endswith(("loss", "error", "err")):
            return Direction.MINIMIZE
        if word in _HIGHER or word.endswith(("acc", "accuracy", "score")):
            return Direction.MAXIMIZE
    return None


_SAMPLE = 400
"""Rows from which columns are recognised; a choice does not need more."""

_STATED = 0.5
"""Share of filled cells that must read as a status in a column named for it."""


class Columns(Frozen):
    """Places of the columns in a row, from 0; ``None`` where there is none.

    ``label`` is a column that names the metric of each row and ``own`` says
    that the table is in Karpathy's five columns, where 0.000000 is no metric.
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
    flag: bool = False
    own: bool = False
    assumptions: tuple[str, ...] = ()

    @property
    def least(self) -> int:
        """Cells that a row must have to be understood at all."""
        return max(self.metric, self.status) + 1


def find_columns(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    metric: str | None,
    config_metric: str | None,
    name: str,
) -> Columns:
    """Recognise the columns of a table.

    ``metric`` is the user's choice and ``config_metric`` what the file itself
    calls its column ``metric``.  Raises :class:`DataError` where no column can
    be the status or the metric, or the user's choice is none of them.
    """
    sample = rows[:_SAMPLE]
    names = tuple(one_line(text).strip("|*`\"' ") for text in header)
    own = ("commit", MEMORY_COLUMN, "status", "description")
    if len(names) == 5 and (names[0], *names[2:]) == own and metric in (None, names[1]):
        return Columns(names, 1, names[1], 3, 0, 2, 4, None, own=True)
    finder = _Finder(names, sample, name)
    status = finder.status()
    commit = finder.named(COMMIT_NAMES, besides=(status,))
    description = finder.named(DESCRIPTION_NAMES, besides=(status, commit))
    agent = finder.named(AGENT_NAMES, besides=(status, commit, description))
    memory = finder.memory()
    taken = (status, commit, description, agent, memory)
    label = finder.label() if metric is None and config_metric is None else None
    place = finder.metric(metric, taken, label)
    metric_name = names[place]
    if label is not None:
        metric_name = finder.most_frequent(label)
    elif config_metric and normal_name(metric_name) == "metric":
        metric_name = config_metric
    return Columns(
        names=names,
        metric=place,
        metric_name=metric_name,
        status=status,
        commit=commit,
        memory=None if memory == place else memory,
        description=description,
        agent=agent,
        label=label,
        flag=normal_name(names[status]) in FLAG_NAMES,
        assumptions=tuple(finder.assumptions),
    )


class _Finder:
    """Looks for columns in a header and a sample of rows."""

    def __init__(self, names: tuple[str, ...], rows: Sequence[Sequence[str]], file: str) -> None:
        self.names = names
        self.plain = [normal_name(name) for name in names]
        self.rows = rows
        self.file = file
        self.assumptions: list[str] = []

    def cells(self, place: int) -> list[str]:
        """Filled cells of a column."""
        column = (row[place].strip() for row in self.rows if place < len(row))
        return [cell for cell in column if cell]

    def named(self, known: Sequence[str], besides: tuple[int | None, ...]) -> int | None:
        """The column of the first known name."""
        for word in known:
            for place, plain in enumerate(self.plain):
                if plain == word and place not in besides:
                    return place
        return None

    def _stated(self, place: int) -> float:
        flag = self.plain[place] in FLAG_NAMES
        cells = self.cells(place)
        known = sum(status_of(cell, flag) is not None for cell in cells)
        return known / len(cells) if cells else 0.0

    def status(self) -> int:
        """The column that says what was kept."""
        for word in STATUS_NAMES:
            for place, plain in enumerate(self.plain):
                if plain == word and self._stated(place) >= _STATED:
                    return place
        raise DataError(
            f"{self.file}: line 1, column 1: expected a column that says what was kept "
            f"(status, decision, verdict, kept), found {_listed(self.names)}"
        )

    def memory(self) -> int | None:
        """The column of the peak memory, in gigabytes if there is a choice."""
        found = [p for p, plain in enumerate(self.plain) if MEMORY_NAME.search(plain)]
        return min(found, key=lambda p: (not self.plain[p].endswith("gb"), p), default=None)

    def label(self) -> int | None:
        """A column ``metric`` that holds names, where another holds the values."""
        for place, plain in enumerate(self.plain):
            cells = self.cells(place)
            words_only = cells and not any(is_number(cell) for cell in cells)
            if plain in METRIC_LABELS and words_only and self._values(place) is not None:
                return place
        return None

    def _values(self, label: int) -> int | None:
        return self.named(VALUE_NAMES, besides=(label,))

    def most_frequent(self, place: int) -> str:
        """The metric that most rows are about; of equals the first."""
        cells = self.cells(place)
        name = max(dict.fromkeys(cells), key=cells.count)
        others = len(set(cells)) - 1
        if others:
            self.assumptions.append(f"rows of {others} metrics other than {name} are not judged")
        return one_line(name)

    def _numeric(self, place: int) -> bool:
        cells = self.cells(place)
        return sum(is_number(cell) for cell in cells) > len(cells) * 0.2

    def metric(
        self, chosen: str | None, taken: tuple[int | None, ...], label: int | None = None
    ) -> int:
        """The column of the metric."""
        if chosen is not None:
            return self._chosen(chosen)
        values = self._values(label) if label is not None else None
        if values is not None:
            return values
        free = [p for p in range(len(self.names)) if p not in taken and self._numeric(p)]
        plain = [p for p in free if not NOT_A_METRIC.search(self.plain[p])]
        if not free:
            raise DataError(
                f"{self.file}: line 1, column 1: expected a column of numbers that is the "
                f"metric, found {_listed(self.names)}; name it with --metric"
            )
        place = min(plain or free, key=self._rank)
        others = [self.names[p] for p in plain if p != place]
        if others:
            self.assumptions.append(
                f"the metric is {quoted(self.names[place])}, not {_listed(others)} "
                "(choose with --metric)"
            )
        return place

    def _chosen(self, chosen: str) -> int:
        plain = normal_name(chosen)
        if plain not in self.plain:
            raise DataError(
                f"{self.file}: line 1, column 1: expected a column {quoted(chosen)}, "
                f"found {_listed(self.names)}"
            )
        return self.plain.index(plain)

    def _rank(self, place: int) -> tuple[int, int]:
        """Known metrics first, then validation, then names with a direction."""
        plain = self.plain[place]
        if plain in PREFERRED:
            return PREFERRED.index(plain), place
        known = direction_of(plain) is not None
        held_out = plain.startswith(("val_", "valid_", "test_", "eval_"))
        return len(PREFERRED) + 2 - held_out - known, place


def _listed(names: Sequence[str]) -> str:
    return first_of((one_line(name)[:40] for name in names), 12)
