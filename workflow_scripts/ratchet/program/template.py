"""A new ``program.md`` from what a task and its configuration say."""

from __future__ import annotations

from collections.abc import Sequence

from ratchet.categories.angles import untried
from ratchet.program.contract import Contract, PastSession
from ratchet.program.markdown import escape
from ratchet.program.updating import measured, next_steps, tried
from ratchet.templates import fill
from ratchet.vocabulary import CATEGORIES

ANGLES = 4
"""Angles that are named for a category where nothing is declared."""


def render(contract: Contract, past: PastSession | None = None) -> str:
    """The text, with the measured baseline and what was tried where there is a session.

    The same task gives the same text, and a text that agrees with its task.
    """
    return fill(
        __file__,
        "program.md",
        contract=contract,
        past=past,
        constraints=_constraints(contract),
        directions=_directions(contract, past),
        escape=escape,
        measured=measured,
        next_steps=next_steps,
        tried=tried,
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


def _directions(contract: Contract, past: PastSession | None) -> list[tuple[str, Sequence[str]]]:
    """Categories with what they may vary, those that did well in a session first."""
    known = dict(contract.directions) or {
        name: tuple(untried(name, ())[:ANGLES]) for name in CATEGORIES if untried(name, ())
    }
    order = [name for name in (past.history.state.ranking if past else ()) if name in known]
    return [(n, known[n]) for n in (*order, *(name for name in known if name not in order))]
