"""Curves of the training loss, read from the lines that trainers print, and what is wrong in them.

Lines are of many makes: ``step 00120 (12.6%) | loss: 1.234567 | dt: 310ms | tok/sec: 1,690,000``,
``iter 100: loss 2.3, time 33ms``, ``epoch 3 train_loss=0.5``, progress bars, JSON, the
mappings that HF Trainer prints.  A task whose lines are of none of them gives a pattern.
"""

import bisect
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any

from ratchet.base.structs import Frozen
from ratchet.base.text import MAX_LINE, strip_escapes
from ratchet.records.series import CurvePoint, read_curve
from ratchet.records.store import LOG, Store
from ratchet.task.task import compiled_pattern, pattern_literal

MOST_LINES = 1_200
"""Lines that may tell a loss and are read, evenly chosen: upstream prints some 950, and
reading all that a hostile log can hold takes seconds."""

KEPT_POINTS = 300
"""Points of a curve that are kept: more than a figure has columns for."""

ENDS = 5
"""Points at either end of a curve that are compared: one alone may be an unlucky batch."""

FEWEST = 6
"""Points of a curve, below which its ends are too near to each other to be compared."""

BEYOND = 0.05
"""Part of the loss at the beginning by which the end must be above it: a loss that stays
where it was, as of a model that learns nothing, wanders by less."""

# All of these read lower case, and begin where a word was found.
_NUMBER = r"[-+]?(?:\d{1,12}(?:\.\d{0,18})?(?:e[-+]?\d{1,3})?|\.\d{1,18}|nan|inf(?:inity)?)"
_LOSS = re.compile(rf"[\"']?\s{{0,3}}[:=(]?\s{{0,3}}(?:tensor\()?({_NUMBER})(?!\.?\w|%)")
_MOST_LOSSES = 8
"""Losses of one line that are looked at."""

_BEFORE = 28
"""Characters before the word ``loss`` that say whose it is."""
_JOINTS = str.maketrans("_/.-:\"'", "       ")
_EVALUATION = frozenset(("val", "valid", "validation", "eval", "evaluation", "test", "dev"))
_WHOLE = frozenset(("train", "training", "total", "avg", "average", "mean", "running", "smooth"))

_STEP = re.compile(
    r"(?<![a-z])(?:step|iter|iteration|it|batch|update)s?[\"']?\s{0,2}[:=#\[(]?\s{0,8}"
    r"(\d{1,12})(?!\w|\.\d|%)"
)
_PART = re.compile(r"(?<![\w./:])(\d{1,12})/\d{1,12}(?![\w./:])")
_EPOCH = re.compile(r"(?<![a-z])epoch[\"']?\s{0,2}[:=#\[(]?\s{0,3}(\d{1,9})(?!\w|\.\d)")
_COUNT = r"(\d[\d,]{0,19}(?:\.\d{0,9})?)\s?([kmgbt]?)"
_TOKENS = re.compile(
    rf"(?<![a-z])tokens(?:[ _](?:seen|trained|total|processed))?[\"']?[:= ]{{1,3}}{_COUNT}(?![\w/])"
)
_RATE = re.compile(
    r"(?<![a-z])tok(?:en)?s?(?:/s|_per_s)(?:ec(?:ond)?)?[\"']?"
    rf"\s{{0,2}}[:=]?\s{{0,3}}{_COUNT}(?!\w)"
)
_DURATION = re.compile(r"(?<![a-z])dt[\"']?\s{0,2}[:=]?\s{0,3}(\d{1,9}(?:\.\d{0,9})?)\s?(m?)s\b")
_SIZES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12}


class Clock(Frozen):
    """When the bytes of a log were printed.

    ``stamps`` are pairs of a number of bytes and the seconds by which so many were there.
    Of a log that was too long ``left_out`` bytes are missing after the first ``head``, and a
    note of ``note`` bytes stands there.
    """

    stamps: Sequence[tuple[int, float]] = ()
    head: int = 0
    note: int = 0
    left_out: int = 0

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Clock":
        """That of a supervisor's answer; without stamps where it has none."""
        output = answer.get("output") or {}
        stamps = [(int(size), float(seconds)) for size, seconds in output.get("stamps", ())]
        return cls(stamps, *(int(output.get(name, 0)) for name in ("head", "note", "left_out")))

    def seconds(self, place: int) -> float | None:
        """Seconds by which the log was there up to ``place``; ``None`` where that is not known."""
        if self.left_out and place > self.head:
            place += self.left_out - self.note
        found = bisect.bisect_left(self.stamps, place, key=lambda stamp: stamp[0])
        return self.stamps[found][1] if found < len(self.stamps) else None


class _Counter(IntEnum):
    """What a line counts by; of the lines of a log those with the highest tell its curve."""

    NONE = 0
    EPOCH = 1
    PART = 2
    STEP = 3


class _Line(Frozen):
    """Numbers of one line of progress; ``place`` is where it ends in the log, in bytes."""

    place: int
    counter: _Counter
    step: int
    loss: float
    seconds: float | None = None
    tokens: float | None = None
    tokens_per_step: float | None = None
    whole: bool = True


def printed_curve(
    log: bytes, clock: Clock | None = None, pattern: str = "", most: int = MOST_LINES
) -> list[CurvePoint]:
    """The training loss that a log tells, in the order of steps.

    With a ``pattern`` of RE2 its groups ``step`` and ``loss``, and ``seconds`` and ``tokens`` if
    it has them, are read.  Otherwise lines without a step are numbered, where none has one, and
    a count that begins anew, as in every epoch of a progress bar, goes on from where it was.
    Losses of evaluations are passed over.  Of two lines of one step the later counts, and of
    more lines than ``most`` some, evenly chosen.
    """
    data = log.replace(b"\r", b"\n")
    read = _by_pattern(pattern) if pattern else _by_words
    word = pattern_literal(pattern) if pattern else "loss"
    lines = [line for line in map(read, _candidates(data, word.encode().lower(), most)) if line]
    best = max((line.counter for line in lines), default=_Counter.NONE)
    lines = [line for line in lines if line.counter is best]
    if best is _Counter.EPOCH and any(a.step == b.step for a, b in itertools.pairwise(lines)):
        best = _Counter.NONE  # several lines of each epoch
    if best is _Counter.NONE and len(lines) < 2:
        return []  # a sentence that holds the word
    points, whole = dict[int, CurvePoint](), set[int]()
    for step, line in _steps(lines, best):
        if step in whole and not line.whole:
            continue
        if line.whole:
            whole.add(step)
        seconds = line.seconds
        if clock is not None and seconds is None:
            seconds = clock.seconds(line.place)
        points[step] = CurvePoint(step, line.loss, seconds, line.tokens)
    # An epoch has many steps, and a line without a number nobody knows how many.
    by_step = best in (_Counter.STEP, _Counter.PART)
    if by_step and all(line.tokens is None and line.tokens_per_step is not None for line in lines):
        _count_tokens(points, lines)
    return list(points.values())


def _candidates(data: bytes, word: bytes, most: int) -> Iterator[tuple[int, str]]:
    """End and text of the lines that hold a word, of too many a part."""
    lower, ends, start = data.lower(), list[tuple[int, int]](), 0
    while (found := lower.find(word, start)) >= 0 and start < len(data):
        begin = data.rfind(b"\n", start, found) + 1 or start
        end = data.find(b"\n", found)
        end = len(data) if end < 0 else end
        if end > begin:
            ends.append((begin, end))
        start = end + 1
    many = len(ends)
    chosen = range(many) if many <= most else _evenly(many, most)
    for begin, end in (ends[place] for place in chosen):
        text = data[begin : min(end, begin + MAX_LINE)].decode(errors="replace")
        yield end, strip_escapes(text) if "\x1b" in text else text


def _evenly(many: int, most: int) -> Iterator[int]:
    return (round(i * (many - 1) / (most - 1)) for i in range(most))


def _by_words(given: tuple[int, str]) -> _Line | None:
    place, text = given[0], given[1].lower()
    loss, whole = _loss(text)
    if loss is None or "train_runtime" in text:  # HF Trainer's mean of the whole run
        return None
    counter, step = _count(text)
    tokens = each = None
    if "tok" in text:
        tokens, rate, took = _amount(_TOKENS.search(text)), _RATE.search(text), None
        if rate is not None and tokens is None:
            took = _DURATION.search(text)
        if took is not None:
            each = (_amount(rate) or 0.0) * float(took[1]) / (1000.0 if took[2] else 1.0)
    return _Line(place, counter, step, loss, tokens=tokens, tokens_per_step=each, whole=whole)


def _loss(text: str) -> tuple[float | None, bool]:
    """The loss of the training that a line tells, and whether it is that of the whole."""
    other: float | None = None
    place = -1
    for _ in range(_MOST_LOSSES):
        place = text.find("loss", place + 1)
        if place < 0:
            break
        match = _LOSS.match(text, place + 4)
        if match is None:
            continue
        before = text[max(0, place - _BEFORE) : place].translate(_JOINTS).split()
        if not _EVALUATION.isdisjoint(before[-2:]):
            continue
        if not before or not before[-1].isalpha() or before[-1] in _WHOLE:
            return _bounded(float(match[1])), True
        other = _bounded(float(match[1])) if other is None else other
    return other, False


LARGEST = 1e38
"""A loss beyond it is infinite, as in 32 bits: sums of such numbers are, too."""


def _bounded(loss: float) -> float:
    return math.copysign(math.inf, loss) if abs(loss) > LARGEST else loss


def _possible(amount: float | None) -> float | None:
    """Seconds or tokens, if they can be that many."""
    return amount if amount is not None and 0 <= amount < 1e18 else None


def _count(text: str) -> tuple[_Counter, int]:
    for counter, pattern in (
        (_Counter.STEP, _STEP),
        (_Counter.PART, _PART),
        (_Counter.EPOCH, _EPOCH),
    ):
        match = pattern.search(text)
        if match is not None:
            return counter, int(match[1])
    return _Counter.NONE, 0


def _amount(match: re.Match[str] | None) -> float | None:
    digits = match[1].replace(",", "") if match is not None else ""
    return float(digits) * _SIZES[match[2].lower()] if match is not None and digits else None


def _by_pattern(pattern: str) -> Callable[[tuple[int, str]], _Line | None]:
    compiled = compiled_pattern(pattern)
    names = compiled.groupindex

    def read(given: tuple[int, str]) -> _Line | None:
        place, text = given
        match = compiled.search(text.encode(errors="replace"))
        if match is None:
            return None
        said = {name: _plain_number(match.group(names[name])) for name in names}
        step, loss = said["step"], said["loss"]
        if step is None or loss is None or not 0 <= step < MOST_STEPS:
            return None
        seconds, tokens = (_possible(said.get(name)) for name in ("seconds", "tokens"))
        return _Line(
            place, _Counter.STEP, int(step), _bounded(loss), seconds=seconds, tokens=tokens
        )

    return read


MOST_STEPS = 1e12
"""No training has as many steps."""


def _plain_number(word: bytes | None) -> float | None:
    try:
        return float((word or b"").replace(b",", b""))
    except ValueError:
        return None


def _steps(lines: Sequence[_Line], counter: _Counter) -> Iterator[tuple[int, _Line]]:
    """Lines with their steps from the beginning, which only grow."""
    last = before = 0  # of this count, and of all counts before it
    for number, line in enumerate(lines, 1):
        if counter is _Counter.NONE:
            yield number, line
            continue
        if line.step < last:
            if 2 * line.step > last:
                continue  # of a process that is late
            before += last + (line.step == 0)
        last = line.step
        yield before + last, line


def _count_tokens(points: dict[int, CurvePoint], lines: Sequence[_Line]) -> None:
    """Add the tokens by speed and time of each step; the first line is of the first step."""
    each, total, last = {}, 0.0, None
    for step, line in _steps(lines, _Counter.STEP):
        each[step] = line.tokens_per_step or 0.0
    for step, point in points.items():
        total += each.get(step, 0.0) * (max(step, 1) if last is None else step - last)
        last = step
        points[step] = CurvePoint(step, point.loss, point.seconds, total)


def run_curve(store: Store, key: str) -> list[CurvePoint]:
    """Curve of a stored run, for one that was made before curves were kept from its log."""
    curve, log = read_curve(store, key), store.paths.run(key) / LOG
    return curve if curve or not log.is_file() else printed_curve(log.read_bytes())


CURVE_PARTS = (0.1, 0.25, 0.5, 1.0)
"""Parts of a run at which its training loss is told: early enough to see how it starts."""


def curve_parts(
    curve: Sequence[CurvePoint], steps: float | None = None
) -> list[tuple[float, float]]:
    """A few points of a curve, those nearest to :data:`CURVE_PARTS`: part of the run, and loss.

    ``steps`` are those of the whole run, by default the last that was printed.
    """
    last = steps or max((point.step for point in curve), default=0)
    if last <= 0 or not curve:
        return []
    near = (min(curve, key=lambda p: (abs(p.step / last - part), p.step)) for part in CURVE_PARTS)
    return [(point.step / last, point.loss) for point in dict.fromkeys(near)]


def divergence(curve: Sequence[CurvePoint]) -> str:
    """Where the training loss went astray, in words; empty for a curve that ends well.

    It does not end in a number, or each of its last points is beyond each of its first.
    """
    whole = [point for point in curve if math.isfinite(point.loss)]
    if curve and not math.isfinite(curve[-1].loss):
        lost = next(
            p for p in curve if not math.isfinite(p.loss) and (not whole or p.step > whole[-1].step)
        )
        before = f", {whole[-1].loss:.4g} at step {whole[-1].step}" if whole else ""
        return f"training loss {lost.loss:g} from step {lost.step} on{before}"
    ends = min(ENDS, len(whole) // 3)
    if len(whole) < FEWEST:
        return ""
    began = max(point.loss for point in whole[:ends])
    if min(point.loss for point in whole[-ends:]) <= began + BEYOND * abs(began):
        return ""
    last = whole[-1]
    return f"training loss {last.loss:.4g} at step {last.step}, it began with {whole[0].loss:.4g}"
