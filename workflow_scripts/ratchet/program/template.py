"""A new ``program.md`` from what a task and its configuration say."""

from __future__ import annotations

from collections.abc import Sequence

from ratchet.categories.angles import untried
from ratchet.program.contract import Contract, PastSession
from ratchet.program.markdown import escape
from ratchet.program.updating import measured, next_steps, tried
from ratchet.vocabulary import CATEGORIES

ANGLES = 4
"""Angles that are named for a category where nothing is declared."""

NOTHING = "Nothing yet."


def render(contract: Contract, past: PastSession | None = None) -> str:
    """The text, with the measured baseline and what was tried where there is a session.

    The same task gives the same text, and a text that agrees with its task.
    """
    metric, unit = f"`{contract.metric}`", f" ({contract.unit})" if contract.unit else ""
    about = f"\n{escape(contract.description, 300)}.\n" if contract.description else ""
    parts = [
        f"# {contract.task}: {contract.verb.lower()} {metric}\n{about}",
        f"## Goal\n\n{contract.verb} {metric}{unit}: {contract.better}. "
        "Only this number decides.\n",
        "## Baseline\n\n" + _baseline(contract, past),
        "## What you may edit\n\n" + "".join(f"- `{n}`\n" for n in contract.mutable),
        "## Constraints\n\n" + _numbered(_constraints(contract)),
    ]
    if past is not None and past.history.state.suggestions:
        parts.append("## What to try next\n\n" + next_steps(past.history.state.suggestions))
    parts += [
        "## Directions, the most promising first\n\n" + _numbered(_directions(contract, past)),
        "## What has been tried\n\n"
        + (f"{NOTHING}\n" if past is None else tried(contract, past.history)),
    ]
    return "\n".join(parts)


def _numbered(items: Sequence[str]) -> str:
    return "".join(f"{place}. {item}\n" for place, item in enumerate(items, 1))


def _baseline(contract: Contract, past: PastSession | None) -> str:
    if past is not None:
        return measured(contract, past)
    return (
        f"Not measured yet: a session begins with {contract.replicates} runs of the unchanged "
        "source, and their spread is the noise floor.\n"
    )


def _constraints(contract: Contract) -> list[str]:
    said = [f"The budget of each run is {contract.budget} of training; everything in it counts."]
    if contract.fixed:
        names = ", ".join(f"`{name}`" for name in contract.fixed)
        said.append(f"Fixed files, not to be edited: {names}.")
    said.append("No new packages: only what is installed may be imported.")
    if not contract.network:
        said.append("No network and no files beside those of the run.")
    if contract.ceiling.words:
        said.append(f"{contract.ceiling.words}.")
    said += [
        "One meaningful change per experiment, with a hypothesis of why it helps.",
        "The seed is given; choosing another one is not an improvement.",
        "A simpler file with the same metric is an improvement too.",
    ]
    return said


def _directions(contract: Contract, past: PastSession | None) -> list[str]:
    known = dict(contract.directions) or {
        name: tuple(untried(name, ())[:ANGLES]) for name in CATEGORIES if untried(name, ())
    }
    order = [name for name in (past.history.state.ranking if past else ()) if name in known]
    names = [*order, *(name for name in known if name not in order)]
    return [f"{name}: {', '.join(escape(text) for text in known[name])}." for name in names]
