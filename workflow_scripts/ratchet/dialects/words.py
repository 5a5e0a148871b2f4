"""The words people use: statuses, column names, metrics, crash markers, numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from ratchet.dialects.table import RowStatus
from ratchet.records import Direction

_STATUS_WORDS: Mapping[RowStatus, str] = {
    RowStatus.KEEP: """keep keeps kept best accept accepted approve approved merge merged improved
        improvement win winner success confirmed adopted adopt committed promote promoted strong""",
    RowStatus.DISCARD: """discard discarded drop dropped revert reverted reject rejected rollback
        neutral parked park worse regression regressed marginal undo undone abandoned loss lost
        failed_gate no_improvement not_kept""",
    RowStatus.CRASH: """crash crashed oom timeout timedout error errored invalid fail failed failure
        killed nan diverged aborted abort tampered no_json checks_failed exception broken
        no_metric""",
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


def _words(text: str) -> list[str]:
    return text.split()


STATUS_NAMES = _words("status decision verdict outcome kept keep accepted action result state")
FLAG_NAMES = {"kept", "keep", "accepted", "is_best", "improved"}
COMMIT_NAMES = _words(
    """commit git_commit commit_hash commit_sha sha git_sha hash solver_sha config_id run_id
    experiment_id exp_id experiment exp id run trial gen generation iteration iter nnn number name
    tag round"""
)
DESCRIPTION_NAMES = _words(
    """description desc hypothesis change changes summary insight notes note comment comments
    message idea title what details flags"""
)
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
    _words(
        """bpb bpc loss ppl perplexity err error errors rmse mse mae mape nll wer cer ter fid kid
        latency seconds secs ms time cost regret entropy drawdown dd nrmse brier ece size bytes
        memory mem vram energy bits gap violations misses divergence distance lpips flops params"""
    )
)
_HIGHER = set(
    _words(
        """acc accuracy score auc auroc auprc f1 f2 r2 psnr ssim sharpe sortino calmar reward
        rewards profit pnl success win wins map map50 recall precision bleu rouge meteor cider
        throughput tps qps fps mfu iou miou dice return returns elo gain speedup pass passed
        correct ndcg mrr fitness tok toks corr correlation spearman pearson kappa mcc solved rating
        ic jaccard coverage utility likelihood hits"""
    )
)

MISSING = {"", "n/a", "–", "—", "∞"} | set(
    _words(
        """- -- --- na nan none null inf +inf -inf infinity -infinity diverged crash crashed oom
        timeout error fail failed failure invalid tbd ? pending running skipped"""
    )
)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+\.\d+", re.ASCII)
_UNIT = re.compile(r"\s*(gib|gb|g|mib|mb|m)$", re.IGNORECASE)


def normal_name(text: str) -> str:
    """A column's name as compared: lower case, words joined by underscores."""
    return re.sub(r"[^a-z0-9#/]+", "_", text.strip().lower().strip("|*`\"'# ")).strip("_")


def status_of(text: str, flag: bool = False) -> RowStatus | None:
    """What a status cell means; ``None`` where it says nothing clear.

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
    if not words:
        return None
    meant = [STATUSES[word] for word in words if word in STATUSES]
    if words[0] in _NEGATIONS:
        return RowStatus.DISCARD if RowStatus.KEEP in meant else None
    if words[0] not in STATUSES:
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
    """Which way a metric of this name improves; ``None`` where it does not say."""
    words = [w for w in re.split(r"[^a-z0-9]+", name.lower()) if w]
    # The last telling word names the quantity: loss_gain is a gain.
    for word in reversed(words):
        if word in _LOWER or word.endswith(("loss", "error", "err")):
            return Direction.MINIMIZE
        if word in _HIGHER or word.endswith(("acc", "accuracy", "score")):
            return Direction.MAXIMIZE
    return None


def is_number(text: str) -> bool:
    """Whether a cell is a finite number."""
    try:
        return number_of(text) is not None
    except ValueError:
        return False
