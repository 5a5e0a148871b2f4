"""What an agent answered, read as somebody else's data, and whether it can be tried."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ratchet import categories
from ratchet.codec import Frozen
from ratchet.proposers.ideas import same_sources, syntax_error
from ratchet.proposers.tools import PROPOSAL
from ratchet.results_tsv import one_line
from ratchet.vocabulary import CallOutcome

# Characters; what is longer is cut, since it says no more.
DESCRIPTION_LIMIT = 160
HYPOTHESIS_LIMIT = 2000
EFFECT_LIMIT = 300
NAMED = 5
"""Files that a refusal names; whoever touched more knows what it is about."""


class Statement(Frozen):
    """The content of a ``proposal.json``, cleaned and cut."""

    description: str
    hypothesis: str
    category: str = ""
    expected_effect: str = ""


class Reply(Frozen):
    """One finished call: how it ended within its ``minutes``, what it used, what it left.

    ``files`` maps the mutable files that could be read to their digests in the
    store, ``problems`` say what could not be, ``others`` are files that the agent
    had no business with.  ``log`` is the digest of its output.
    """

    exit_code: int
    timed_out: bool
    minutes: float
    log: str
    files: Mapping[str, str]
    problems: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    statement: Statement | None = None
    tokens: int | None = None
    dollars: float | None = None


def statement(data: bytes) -> Statement:
    """Read a ``proposal.json``; raises :class:`ValueError` with what is wrong with it."""
    try:
        found = json.loads(data.decode("utf-8"))
    except RecursionError:
        raise ValueError(f"{PROPOSAL} is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{PROPOSAL} is not valid JSON ({one_line(str(error))[:100]})") from None
    if not isinstance(found, Mapping):
        raise ValueError(f"{PROPOSAL}: expected an object, found {type(found).__name__}")
    hypothesis = _text(found, "hypothesis", HYPOTHESIS_LIMIT)
    description = _text(found, "description", DESCRIPTION_LIMIT)
    for name, value in (("description", description), ("hypothesis", hypothesis)):
        if not value:
            raise ValueError(f"{PROPOSAL}: the text {name!r} is missing")
    effect = found.get("expected_effect")
    if isinstance(effect, int | float) and not isinstance(effect, bool):
        found = {**found, "expected_effect": f"{effect:g}" if abs(effect) < 1e300 else ""}
    return Statement(
        description,
        hypothesis,
        _text(found, "category", 60).lower(),
        _text(found, "expected_effect", EFFECT_LIMIT),
    )


def _text(values: Mapping[str, Any], name: str, limit: int) -> str:
    """One of the texts, on one line and without what no file can hold."""
    value = values.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{PROPOSAL}: expected a text for {name!r}, found {type(value).__name__}")
    line = one_line(value[: 4 * limit].encode("utf-8", errors="replace").decode())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def fault(
    reply: Reply, old: Mapping[str, str], new: Mapping[str, str]
) -> tuple[CallOutcome, str] | None:
    """Why a reply cannot be tried, in one sentence for its author; ``None`` if it can.

    ``old`` are the incumbent's mutable files, ``new`` those of the reply that
    could be read.
    """
    if reply.timed_out:
        return CallOutcome.TIMEOUT, f"it took more than {reply.minutes:g} minutes and was stopped"
    if reply.others:
        more = f" and {len(reply.others) - NAMED} more" if len(reply.others) > NAMED else ""
        named = ", ".join(reply.others[:NAMED])
        allowed = ", ".join(sorted(old))
        return (
            CallOutcome.FORBIDDEN,
            f"it touched {named}{more}; only {allowed} and {PROPOSAL} may be written",
        )
    if reply.problems:
        return CallOutcome.UNREADABLE, "; ".join(reply.problems[:NAMED])
    same = same_sources(old, new)
    if reply.statement is None:
        did = "without a change and" if same else "with a change but"
        return CallOutcome.NO_PROPOSAL, f"it {_ended(reply)} {did} without {PROPOSAL}"
    if same:
        how = "nothing but comments or layout" if dict(old) != dict(new) else "nothing"
        return CallOutcome.EMPTY, f"it changes {how} in {', '.join(sorted(old))}"
    for name, text in new.items():
        wrong = syntax_error(name, text)
        if wrong is not None and syntax_error(name, old[name]) is None:
            return CallOutcome.UNREADABLE, f"{name} is not valid Python ({one_line(wrong)[:100]})"
    return None


def _ended(reply: Reply) -> str:
    if reply.exit_code < 0:
        return f"was ended by signal {-reply.exit_code}"
    return f"ended with status {reply.exit_code}"


def category(
    said: Statement,
    old: Mapping[str, str],
    new: Mapping[str, str],
    known: Sequence[str],
    own: Mapping[str, str],
) -> tuple[str, tuple[str, ...]]:
    """The category of an idea, and a note where its author's word and its code differ.

    The author's word counts if it is one of ``known``: it knows what the change is
    for.  Otherwise the code and then the description decide.
    """
    if said.category not in known:
        return categories.classify(said.description, old, new, own), ()
    done = categories.category_of_code(old, new, own, said.category)
    if done is None or done == said.category:
        return said.category, ()
    return said.category, (f"proposed as {said.category}; what it changes looks like {done}",)
