"""A competitor enters a tournament: its own session with the tournament's inputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ratchet import files, seal
from ratchet.canonical import digest
from ratchet.codec import Frozen, encode, replace
from ratchet.config import Config
from ratchet.entry import Call
from ratchet.errors import FixedInputChangedError
from ratchet.journal import Journal
from ratchet.paths import SessionPaths
from ratchet.proposers import agent, tools
from ratchet.records import Manifest
from ratchet.repo import SessionRepo
from ratchet.session import Session
from ratchet.stages import baseline
from ratchet.stages.prepare import judge_mode

JournalOf = Callable[[Config], Journal]
"""The journal of a competitor, by its configuration."""


class Arena(Frozen):
    """A tournament's place: its configuration and where its sessions lie."""

    config: Config
    root: Path
    harness: Path
    journal_of: JournalOf

    @classmethod
    def at(cls, call: Call) -> Arena:
        """The tournament of a step; each competitor has a journal of its own, and one terminal."""

        def journal_of(own: Config) -> Journal:
            return call.journal_of(own, str(own.strategy["name"]) if own.strategy else "")

        return cls(call.config, call.root, call.harness, journal_of)

    @property
    def paths(self) -> SessionPaths:
        """The tournament's own session."""
        return SessionPaths(self.config.session, self.root)

    def of(self, index: int) -> Config:
        """The configuration of one competitor."""
        return self.config.competitor(self.config.strategies[index])

    @property
    def names(self) -> list[str]:
        """The competitors, in the order of the configuration."""
        return [str(strategy["name"]) for strategy in self.config.strategies]

    def open(self, index: int) -> Session:
        """The session of a competitor that has entered."""
        own = self.of(index)
        return Session.open(own, self.root, self.harness, self.journal_of(own))

    @property
    def main(self) -> Session:
        """The tournament's own session, which has the common baseline."""
        return Session.open(self.config, self.root, self.harness, self.journal_of(self.config))


def enter(arena: Arena, index: int) -> Session:
    """Start a competitor's session, or judge its baseline again.

    Its inputs are the tournament's, so that baseline, noise floor and all runs of
    equal code are shared through the store.  Raises :class:`FixedInputChangedError` if
    a session of its name was started from others, and
    :class:`ratchet.errors.ConfigError` if its agent cannot be found.
    """
    own = arena.of(index)
    paths = SessionPaths(own.session, arena.root)
    if own.by_agent:
        program = tools.program(own.proposer, own.agent_command, arena.root)
        agent.find(program, own.proposer)
    wanted = _manifest(arena, own)
    if paths.manifest.exists():
        _compare(own, wanted, files.read_record(Manifest, paths.manifest))
    else:
        with seal.step(paths, "prepare", 0, 0, None):
            files.write_json(paths.manifest, wanted)
    SessionRepo(paths.repository, own.session).clear_stale_locks()
    session = arena.open(index)
    for number in range(own.baseline_replicates):
        with seal.step(paths, "baseline_run", 0, number, None):
            baseline.make_run(session, number)
    with seal.step(paths, "baseline", 0, 0, None):
        baseline.run(session)
    return session


def _manifest(arena: Arena, own: Config) -> Manifest:
    common = files.read_record(Manifest, arena.paths.manifest)
    frozen = {**encode(own.frozen), "mode": judge_mode(own)}
    return replace(common, session=own.session, frozen=frozen, config_sha256=digest(frozen))


def _compare(own: Config, wanted: Manifest, found: Manifest) -> None:
    """Refuse a session of the same name that is not this tournament's."""
    inputs = ("fixed", "baseline", "data", "locked", "evaluation", "definition", "environment")
    different = [name for name in inputs if getattr(found, name) != getattr(wanted, name)]
    frozen = {**wanted.frozen, "mode": found.frozen["mode"]}
    different += [key for key in frozen if found.frozen.get(key) != frozen[key]]
    if different:
        raise FixedInputChangedError(
            f"session {own.session!r} cannot take part, since it was started with another "
            f"{', '.join(different)} than the tournament; choose another name for the "
            "tournament: snakemake --cores 1 evolve --config session=NAME"
        )
