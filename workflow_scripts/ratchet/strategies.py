"""Strategies: how a competitor proposes, as data in ``config/strategies.yaml``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.codec import Frozen, decode, encode
from ratchet.errors import ConfigError

FILE = "strategies.yaml"
SCHEMA = "strategies.schema.yaml"
LONGEST_SESSION = 64
"""Characters of a session's name, which a competitor's contains."""


class Strategy(Frozen):
    """How one competitor proposes.

    ``proposer``, ``agent_command`` and ``steering`` replace those of the
    configuration.  ``order`` ``random`` ignores steering's ranking.  Categories in
    ``first`` come before all others until each was tried ``first_tries`` times;
    with ``only`` there are no others.  ``steps`` says which of a category's declared
    edits come first: as ``declared``, the smallest or the largest change.  The
    ``brief`` is for agents, and for people.
    """

    name: str
    brief: str
    proposer: str | None = None
    agent_command: tuple[str, ...] | None = None
    steering: str | None = None
    order: str = "ranked"
    first: tuple[str, ...] = ()
    first_tries: int = 5
    only: tuple[str, ...] = ()
    steps: str = "declared"

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Strategy:
        """The strategy that a configuration holds as a mapping."""
        return decode(cls, encode(values), "strategy")


def read(path: Path, schema_path: Path) -> dict[str, dict[str, Any]]:
    """All strategies of a file, by name and complete.

    Raises :class:`ConfigError` with one line per mistake.
    """
    from ratchet import schema  # YAML is slow to import; the scripts get JSON

    values = schema.load_yaml(path)
    schema.check(values, schema.load_yaml(schema_path), str(path))
    for name in values:
        if re.fullmatch(r"\d+", str(name)):
            raise ConfigError(f"{path}: {name}: expected a name with a letter in it")
    return {str(n): encode(Strategy.of({"name": str(n), **v})) for n, v in values.items()}


def known(shipped: Path, own: Path | None) -> dict[str, dict[str, Any]]:
    """The strategies of the folder ``shipped``, and those that a user has in ``own``."""
    schema_path = shipped / SCHEMA
    found = read(shipped / FILE, schema_path)
    if own is not None and (own / FILE).is_file() and own.resolve() != shipped.resolve():
        found |= read(own / FILE, schema_path)
    return found


def choose(
    names: Sequence[str], known: Mapping[str, dict[str, Any]], session: str, where: str
) -> list[dict[str, Any]]:
    """The strategies of these names; each takes part once.

    Raises :class:`ConfigError` for a name that nobody defined, that stands twice, or
    that makes the name of the competitor's session too long.
    """
    found = []
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            raise ConfigError(
                f"{where}: expected a strategy of config/{FILE}, found {name!r:.60}; {hint}"
            )
        if names.count(name) > 1:
            raise ConfigError(
                f"{where}: strategies: {name} stands there twice; equal competitors would only "
                f"do the same (give a copy another name in config/{FILE})"
            )
        if len(session) + 1 + len(name) > LONGEST_SESSION:
            raise ConfigError(
                f"{where}: the session of a competitor would be called {session}.{name}; expected "
                f"at most {LONGEST_SESSION} characters, choose a shorter `session`"
            )
        found.append(known[name])
    return found
