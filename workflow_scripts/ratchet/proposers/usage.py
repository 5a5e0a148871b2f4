"""What a call of an agent used, read from its output.

The tools report it in lines of JSON, each with a ``type`` of its own, or (aider)
in words; so one reader does for all, and for a command that wraps one of them.
Tokens that were read from a cache are not counted: agents read the same context
again at each step, and pay a tenth or less for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ratchet.codec import Frozen

MOST_DOLLARS = 1e6
MOST_TOKENS = 10**12
"""Beyond these a number is a mistake, and it would stop the session."""

_AIDER = re.compile(
    r"^>?\s*Tokens: (?P<sent>[\d.,]+[kM]?) sent,.*?(?P<received>[\d.,]+[kM]?) received\."
    r"(?: Cost: \$(?P<cost>[\d.]+) message)?"
)
_FACTOR = {"k": 1e3, "M": 1e6}


class Usage(Frozen):
    """Tokens and dollars; ``None`` where the tool reports none."""

    tokens: int | None = None
    dollars: float | None = None

    def __add__(self, other: Usage) -> Usage:
        return Usage(_sum(self.tokens, other.tokens), _sum(self.dollars, other.dollars))


def _sum(a: Any, b: Any) -> Any:
    return b if a is None else a if b is None else a + b


def usage(output: str) -> Usage:
    """What the output of an agent says that it used."""
    total, messages, final = Usage(), dict[str, Usage](), False
    for line in output.splitlines():
        if match := _AIDER.match(line.strip()[:400]):
            total += _in_words(match)
            continue
        event = _event(line)
        kind = event.get("type")
        if kind == "result":
            final = True
            total += _result(event)
        elif kind == "assistant":  # claude, before its result: what a stopped call used
            message = _object(event.get("message"))
            messages[str(message.get("id"))] = _result(message)
        elif kind == "turn.completed":  # codex
            used = _object(event.get("usage"))
            read = _count(used, "input_tokens") - _count(used, "cached_input_tokens")
            total += Usage(max(0, read) + _count(used, "output_tokens"))
        elif kind == "step_finish":  # opencode
            total += _step(_object(event.get("part")))
    if not final:
        for found in messages.values():
            total += found
    return total


def _event(line: str) -> Mapping[str, Any]:
    if not line.lstrip().startswith("{"):
        return {}
    try:
        return _object(json.loads(line))
    except (ValueError, RecursionError):
        return {}


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _result(event: Mapping[str, Any]) -> Usage:
    """The sums that claude and gemini end with, or those of one message of claude."""
    if "stats" in event:
        stats = _object(event["stats"])
        return Usage(max(0, _count(stats, "total_tokens") - _count(stats, "cached")))
    if "usage" not in event:
        return Usage()
    used = _object(event["usage"])
    names = ("input_tokens", "cache_creation_input_tokens", "output_tokens")
    return Usage(sum(_count(used, name) for name in names), _dollars(event, "total_cost_usd"))


def _step(part: Mapping[str, Any]) -> Usage:
    used = _object(part.get("tokens"))
    written = _count(_object(used.get("cache")), "write")
    names = ("input", "output", "reasoning")
    return Usage(written + sum(_count(used, name) for name in names), _dollars(part, "cost"))


def _in_words(match: re.Match[str]) -> Usage:
    tokens = sum(_short(match[name]) for name in ("sent", "received"))
    return Usage(round(tokens), _dollars({"cost": _number(match["cost"] or "")}, "cost"))


def _short(text: str) -> float:
    """A count as aider shortens it: ``900``, ``4.1k``."""
    factor = _FACTOR.get(text[-1], 1.0)
    return min((_number(text.rstrip("kM").replace(",", "")) or 0.0) * factor, MOST_TOKENS)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _count(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
    return int(value) if fits and value is not None else 0


def _dollars(values: Mapping[str, Any], name: str) -> float | None:
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= MOST_DOLLARS else None
