"""Words and numbers in other people's logs: what a status, a number and a metric's name mean."""

import math
import re
from collections.abc import Mapping
from functools import lru_cache

from ratchet.logs.table import RowStatus
from ratchet.records.records import Direction

_words = str.split
_STATUS_WORDS: Mapping[RowStatus, str] = {
    RowStatus.KEEP: """keep keeps kept best accept accepted approve approved merge merged improved
        improvement win winner confirmed adopted adopt committed promote promoted strong champion
        kept_baseline new_best""",
    RowStatus.DISCARD: """discard discarded drop dropped revert reverted reject rejected rollback
        neutral parked park worse regression regressed marginal undo undone abandoned loss lost
        failed_gate no_improvement not_kept violation no_change no_changes rolled unchanged kill
        no_op noop tie tied""",
    RowStatus.CRASH: """crash crashed oom timeout timedout error errored invalid fail fails failed
        failure killed nan diverged aborted abort tampered no_json checks_failed exception broken
        no_metric guard_failed""",
    RowStatus.BASELINE: "baseline base reference initial",
    RowStatus.PENDING: """pending running retest rerun retry inconclusive queued started todo
        in_progress unknown open waiting tbd confirm verify ablate ablation""",
    RowStatus.NOTE: """note notes info comment skip skipped blocked analysis research config summary
        milestone screen""",
}
# Such a word says that a run ended, or names a stage; whether its change was kept it leaves open.
NO_DECISION = {
    **dict.fromkeys(_words("done complete completed"), RowStatus.NOTE),
    **dict.fromkeys(_words("ok okay success successful succeeded pass passed"), RowStatus.PENDING),
    **dict.fromkeys(_words("valid usable tentative contender candidate final"), RowStatus.PENDING),
    **dict.fromkeys(_words("wip tournament finished stale ref"), RowStatus.PENDING),
}
STATUSES = {word: status for status, words in _STATUS_WORDS.items() for word in words.split()}
_EVERY_WORD = {**NO_DECISION, **STATUSES}

FLAGS = {
    **dict.fromkeys(("true", "yes", "y", "1", "1.0", "t", "✓", "✅"), RowStatus.KEEP),
    **dict.fromkeys(("false", "no", "n", "0", "0.0", "f", "✗", "❌"), RowStatus.DISCARD),
}

_NEGATIONS = {"not", "no", "non", "never", "don", "didn"}
_WORD = re.compile(r"[a-z]+")
# What follows in brackets or after a colon is the author's reason.
REASON = re.compile(r"[(\[:;,—–/]")
RATE = re.compile(
    r"((^|_)(tok|token|sample|req|request|op|it|img|image|frame|row|item|query|queries|step)s?_"
    r"(s|sec|second)s?|_per_(s|sec|second|min|minute)|(^|_)(tps|fps|qps|rps|throughput|[tgm]flops)"
    r"(_.*)?)$"
)
TIME_PER = re.compile(r"(^|_)(ns|us|µs|ms|s|sec|seconds?)_per_")

_LOWER = set(
    _words("""bpb bpc loss ppl perplexity err error errors rmse mse mae mape nll wer cer ter fid kid
        latency seconds secs sec s ms us µs ns time runtime cost regret entropy drawdown dd nrmse
        brier ece size bytes kb mb gb kib mib gib memory mem vram energy bits gap violations misses
        divergence distance lpips flops params smape mase wape crps hd95 rtf exploitability""")
)

_HIGHER = set(
    _words("""acc accuracy score auc auroc auprc f1 f2 r2 psnr ssim sharpe sortino calmar reward
        rewards profit pnl success win wins map map50 recall precision bleu rouge meteor cider
        throughput tps qps fps rps tflops gflops mfu iou miou dice return returns elo gain speedup
        pass passed correct ndcg mrr fitness tok toks corr correlation spearman pearson kappa mcc
        solved rating ic jaccard coverage utility likelihood hits improvement top1 top5 elbo""")
)

MISSING = {"", "n/a", "–", "—", "∞"} | set(
    _words("""- -- --- na nan none null inf +inf -inf infinity -infinity diverged crash crashed oom
        timeout err error fail failed failure invalid tbd ? pending running skipped""")
)

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+\.\d+", re.ASCII)
_UNIT = re.compile(r"\s*(gib|gb|g|mib|mb|m)$", re.IGNORECASE)


def normal_name(text: str) -> str:
    """A column's name as compared: lower case, words joined by underscores."""
    return re.sub(r"[^a-z0-9#/µ]+", "_", text.strip().lower().strip("|*`\"'# ")).strip("_")


def status_of(
    text: str, flag: bool = False, words: Mapping[str, RowStatus] | None = None
) -> RowStatus | None:
    """Meaning of a status cell; ``None`` where it says nothing clear.

    The first known word decides, unless the leading words contradict each
    other; ``not`` before a keep makes it a discard.  An empty cell is pending.
    ``words`` are the user's own, and come first.
    """
    plain = text.strip().lower()
    if words and plain in words:
        return words[plain]
    if plain.strip("-–—*` ") == "":
        return RowStatus.PENDING
    if flag and plain in FLAGS:
        return FLAGS[plain]
    return _meaning(plain)


@lru_cache(maxsize=2000)
def _meaning(plain: str) -> RowStatus | None:
    head = REASON.split(plain, maxsplit=1)[0].strip()
    whole, short = (re.sub(r"[^a-z0-9]+", "_", text).strip("_") for text in (plain, head))
    if known := [text for text in (whole, short) if text in _EVERY_WORD]:
        return _EVERY_WORD[known[0]]
    words = _WORD.findall(head)[:4]
    if whole.startswith(("checks_failed", "no_json")):
        return RowStatus.CRASH
    meant = [STATUSES[word] for word in words if word in STATUSES]
    if words and words[0] in _NEGATIONS:
        return RowStatus.DISCARD if RowStatus.KEEP in meant else None
    if not words or words[0] not in _EVERY_WORD:
        # One compound says what went wrong, or that it was kept: size_violation, auto-keep.
        compound = len(words) in (2, 3) and " " not in head and _EVERY_WORD.get(words[-1])
        return compound if compound and len({*meant}) == 1 else None
    if words[0] == "confirmed" and len(meant) > 1:
        meant = meant[1:]
    leading = {STATUSES[word] for word in words[:2] if word in STATUSES}
    if {RowStatus.KEEP, RowStatus.DISCARD} <= leading and words[0] != "confirmed":
        return None
    return meant[0] if meant else _EVERY_WORD[words[0]]


def number_of(text: str) -> float | None:
    """A cell's finite number; ``None`` for a marker that there is none.

    Percent signs, a factor's ``x`` and emphasis are passed over.  Raises
    :class:`ValueError` for anything else: what looks nearly like a number is
    not guessed at.
    """
    plain = text.strip().strip("*`").strip()
    if plain.lower() in MISSING:
        return None
    if plain.endswith(("%", "x", "×")):
        plain = plain[:-1].rstrip()
    if _GROUPED.fullmatch(plain):
        plain = plain.replace(",", "")
    if not _NUMBER.fullmatch(plain):
        raise ValueError(text)
    value = float(plain)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def readable_number(text: str) -> float | None:
    """A cell's finite number; ``None`` for a marker and for what is no number."""
    try:
        return number_of(text)
    except ValueError:
        return None


def is_number(text: str) -> bool:
    """Whether a cell is a finite number."""
    return readable_number(text) is not None


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
    plain = normal_name(name)
    if TIME_PER.search(plain):
        return Direction.MINIMIZE
    if RATE.search(plain):
        return Direction.MAXIMIZE
    # The last telling word names the quantity: loss_gain is a gain.
    for word in reversed([w for w in re.split(r"[^a-z0-9µ]+", plain) if w]):
        if word in _LOWER or word.endswith(("loss", "error", "err")):
            return Direction.MINIMIZE
        if word in _HIGHER or word.endswith(("acc", "accuracy", "score")):
            return Direction.MAXIMIZE
    return None
