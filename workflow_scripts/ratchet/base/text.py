"""Words and numbers as people see them; text that a run or an agent wrote is cleaned here."""

import datetime
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# What reorders text, and what people do not see and language models read.
_UNSEEN = re.compile(
    "[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)

# Colours and cursor moves, window titles and links, and single escapes.
_ANSI = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|\x1b[@-Z\\^_]")

MAX_LINE = 4096
"""Characters of a line that are read; more are no line of a log."""

MAX_CHARACTERS = 1 << 20
"""As much as the harness keeps of a log; of a longer one the end is what counts."""


def one_line(text: str) -> str:
    """Text that stays on one line and in one column, and cannot reorder it."""
    return _CONTROL.sub(" ", _UNSEEN.sub("", text)).strip()


def strip_escapes(text: str) -> str:
    """Text without colours, cursor moves, titles and links of a terminal."""
    return _ANSI.sub("", text)


def clean_lines(text: str) -> list[str]:
    """The end of a log as people read it: no colours, no control characters, no blank lines.

    Each state of a progress line (they are separated by carriage returns) is a
    line of its own.  Text that was UTF-16 and read as something else loses its
    zero characters.  Lines are cut at 4096 characters, so that nothing in a
    hostile log takes long to search.
    """
    end = text[-MAX_CHARACTERS:].replace("\0", "").replace("\r", "\n")
    lines = (one_line(strip_escapes(line[:MAX_LINE])) for line in end.split("\n"))
    return [line for line in lines if line]


LABEL_LIMIT = 300

# A tail of 4 kB shows a traceback and the last steps; a diff of 20 kB is some
# 500 lines, more than anybody reads in a row of a table.
LOG_LIMIT = 4_000
DIFF_LIMIT = 20_000

# Longer than any line of code that a person wrote.
LINE_LIMIT = 500

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor movements
    r"|\x1b[\]P_^X][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)?"  # titles, links, device strings
    r"|\x1b[ -/]*[0-~]"
)

# A few accents on one letter are a language, dozens are a drawing over the page.
_STACKED = re.compile(
    r"([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]{4})"
    r"[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]+"
)

_CUT_BEFORE = re.compile(
    r"\[cut: only the end of (\d[\d,]{0,20}) characters is shown\]\n", re.ASCII
)

_CUT_AFTER = re.compile(
    r"\n\[cut: only the beginning of (\d[\d,]{0,20}) characters is shown\]\Z", re.ASCII
)

_UNUSUAL = re.compile(r"[^\n\t -~]")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean_text(text: str) -> str:
    """Text without terminal escapes, every invisible character made visible.

    Control characters become their pictures (``␀``), characters that change
    direction, join or hide become ``⟨U+202E⟩``.  Applying it twice changes
    nothing more.  Escaping for HTML is the templates' part.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    text = _STACKED.sub(r"\1⟨…⟩", text)
    return _UNUSUAL.sub(lambda match: _visible(match[0]), text)


@lru_cache(maxsize=4096)
def _visible(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if unicodedata.category(character) in _HIDDEN_CATEGORIES:
        return f"⟨U+{code:04X}⟩"
    return character


def one_line_label(text: str, limit: int = LABEL_LIMIT) -> str:
    """One line of at most ``limit`` characters; the rest is counted."""
    line = clean_text(" ".join(text[: 8 * limit].split()))
    if len(line) <= limit and len(text) <= 8 * limit:
        return line
    return f"{line[:limit].rstrip()}… [cut: {len(text):,} characters in all]"


def head_text(text: str, limit: int) -> str:
    """The first ``limit`` bytes of a cleaned text, cut between lines if it can."""
    total, body = _without_note(text)
    shown = _short_lines(clean_text(body[: 2 * limit]))
    if len(shown.encode()) > limit or len(body) > 2 * limit:
        total = total or len(text)
        shown = shown.encode()[:limit].decode(errors="ignore")
        shown = shown[: shown.rfind("\n")] if "\n" in shown[len(shown) // 2 :] else shown
    return (
        f"{shown}\n[cut: only the beginning of {total:,} characters is shown]" if total else shown
    )


def tail_text(text: str, limit: int) -> str:
    """The last ``limit`` bytes of a cleaned terminal log, progress bars collapsed."""
    total, body = _without_note(text)
    lines = body[-4 * limit :].replace("\r\n", "\n").split("\n")
    shown = _short_lines(
        clean_text("\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines))
    )
    if len(shown.encode()) > limit or len(body) > 4 * limit:
        total = total or len(text)
        shown = shown.encode()[-limit:].decode(errors="ignore")
    shown = shown.strip("\n")
    return f"[cut: only the end of {total:,} characters is shown]\n{shown}" if total else shown


def _without_note(text: str) -> tuple[int | None, str]:
    """Length of the whole where an earlier cut took a part of it, and the rest without its note."""
    note = _CUT_BEFORE.match(text) or _CUT_AFTER.search(text, max(0, len(text) - 100))
    if note is None:
        return None, text
    return int(note[1].replace(",", "")), text[: note.start()] + text[note.end() :]


def _short_lines(text: str) -> str:
    return "\n".join(
        line if len(line) <= LINE_LIMIT else f"{line[:LINE_LIMIT]}… [line cut]"
        for line in text.split("\n")
    )


def safe_json(value: Any) -> Any:
    """A JSON value with every text cleaned and every NaN or infinity ``None``."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {clean_text(str(key)): safe_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [safe_json(item) for item in value]
    return value


DASH = "–"


def decimals_for(sd: float | None, value: float | None) -> int:
    """Decimals that show two digits of the noise, one where that is 5 or more; from 0 to 12."""
    scale = sd if sd is not None and sd > 0 else None
    if scale is None and value:
        scale = abs(value) / 100
    if scale is None or not math.isfinite(scale):
        return 4
    place = math.floor(math.log10(scale))
    return max(0, min(12, (scale / 10.0**place < 5) - place))


def format_number(value: float | None, decimals: int = 4, *, signed: bool = False) -> str:
    """A number with a proper minus, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return DASH
    if abs(value) >= 1e9:
        return f"{value:{'+' if signed else ''}.4g}".replace("-", "−")
    text = f"{value:{'+' if signed else ''},.{decimals}f}"
    if not text.strip("+-0.,"):
        return text.lstrip("+-")
    return text.replace("-", "−")


def format_percent(value: float | None) -> str:
    """A probability; nothing is ever said to be certain."""
    if value is None or not math.isfinite(value):
        return DASH
    if value > 0.999:
        return "> 99.9 %"
    if value < 0.001:
        return "< 0.1 %"
    return f"{100 * value:.1f} %"


def format_duration(seconds: float | None) -> str:
    """Seconds in the unit that people would use."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    for unit, size in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} seconds"


def shorten(text: str, limit: int) -> str:
    """Text of at most ``limit`` characters; a cut one ends with an ellipsis."""
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def plural(count: int, word: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


CUT = 100
"""Characters of a description that are shown."""

# What begins emphasis, code, links, HTML or entities wherever it stands; an underscore
# does so at the edge of a word alone, and names of constants are full of them.
_MARKS = re.compile(r"[\\`*<\[\]|~]|(?<![^\W_])_|_(?![^\W_])|&(?=[#\w])")


def escape_markdown(text: str, limit: int = CUT) -> str:
    """Text on one line that Markdown shows as it is, at most ``limit`` characters of it."""
    line = " ".join(one_line(text).split())
    return _MARKS.sub(lambda match: "\\" + match[0], shorten(line, limit))


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two; ``statistics`` is slow to import."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def iso_time(moment: float | None) -> str | None:
    """A time in UTC, as the journal writes it."""
    if moment is None:
        return None
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat(timespec="seconds")


def spoken_duration(length: float) -> str:
    """A length of time as people say it."""
    if length < 90:
        return f"{length:.0f} s"
    if length < 90 * 60:
        return f"{length / 60:.0f} min"
    return f"{length / 3600:.1f} h" if length < 48 * 3600 else f"{length / 86400:.0f} days"


def time_ago(length: float) -> str:
    """Time since an event, in words such as ``5 minutes ago``."""
    return f"{spoken_duration(length)} ago"


def finite_number(value: Any) -> float | None:
    """A finite number, or ``None`` for whatever else a damaged line holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def whole_number(value: Any) -> int | None:
    """An integer, or ``None`` for whatever else a damaged line holds."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
