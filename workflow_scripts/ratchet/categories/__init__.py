"""What a change is about: by the code that differs first, then by words.

A description says what its author meant, a difference of two versions what was
done, so the code has the first word.  Where it says nothing (no versions at
hand, no Python, names that mean nothing) the description decides, and a change
that neither explains is ``other``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ratchet.categories.code import Site, Touched, touched
from ratchet.categories.keys import SETTINGS, changed_keys
from ratchet.categories.size import changes
from ratchet.categories.words import OTHER, category_of, category_of_name

__all__ = [
    "OTHER",
    "Site",
    "Touched",
    "category_of",
    "category_of_code",
    "changes",
    "classify",
    "touched",
]


ENCLOSING = ("optimizer", "embedding", "data")
"""What all code of a function or class is about, if its name says so."""

ARCHITECTURE = "architecture"
"""Every layer has norms, weights and dimensions: such names count only where
nothing else is named, as in the middle of an optimizer."""


def classify(
    description: str,
    old: Mapping[str, str] | None = None,
    new: Mapping[str, str] | None = None,
    own: Mapping[str, str] | None = None,
) -> str:
    """The category of a change; never fails.

    ``old`` and ``new`` map file names to their texts before and after.  ``own``
    maps names and words of a task to its categories, such as
    ``{"EMBED_LR_FACTOR": "embedding", "tiling": "kernels"}``, and comes before
    what is known of language models.
    """
    said = category_of(description, own)
    if old is not None and new is not None:
        done = category_of_code(old, new, own, said)
        if done is not None:
            return done
    return said or OTHER


def category_of_code(
    old: Mapping[str, str],
    new: Mapping[str, str],
    own: Mapping[str, str] | None = None,
    hint: str | None = None,
) -> str | None:
    """What most of the places are about where texts of Python, YAML or JSON differ.

    Each place has one vote, which goes by the nearest name that means something.
    Of categories with equally many votes ``hint`` wins if it is one of them, else
    the one that comes first in the files.  ``None`` if no name means anything.
    """
    votes: Counter[str] = Counter()
    for name in sorted({*old, *new}):
        for site in _sites(name, old.get(name, ""), new.get(name, "")):
            votes.update(_vote(site, own))
    if not votes:
        return None
    most = max(votes.values())
    first = [category for category, count in votes.items() if count == most]
    return hint if hint in first else first[0]


def _sites(name: str, old: str, new: str) -> Sequence[Site]:
    """The places where two versions of a file differ, if its kind is known."""
    if name.endswith(SETTINGS):
        return [Site(words, around) for words, around in changed_keys(old, new)]
    found = touched(old, new) if name.endswith(".py") else None
    return found.sites if found is not None else ()


def _vote(site: Site, own: Mapping[str, str] | None) -> list[str]:
    """The category of one place, if any name tells."""

    def known(names: tuple[str, ...]) -> list[str]:
        found = (category_of_name(name, own) for name in names)
        return [category for category in found if category is not None]

    differs, outer = known(site.words), known(site.around)
    telling = [category for category in differs if category != ARCHITECTURE]
    special = [category for category in outer if category in ENCLOSING]
    # A step of an optimizer is none of the architecture, whatever it computes.
    nearest = telling or special or differs or known(site.calls) or outer
    return (nearest or known(site.beside))[:1]
