"""A competitor enters a tournament: its own session with the tournament's inputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ratchet.base.errors import FixedInputChangedError
from ratchet.base.io import digest, read_bytes, read_record, write_bytes, write_json
from ratchet.base.structs import Frozen, replace, to_json_values
from ratchet.config import Config
from ratchet.integrity.seal import sealed_step
from ratchet.proposers.agent_process import agent_program, require_agent
from ratchet.records.events import Journal
from ratchet.records.paths import SessionPaths
from ratchet.records.records import Manifest
from ratchet.records.session_repo import SessionRepo
from ratchet.session import Session
from ratchet.steps.baseline import write_baseline, write_baseline_run
from ratchet.steps.call import StepCall
from ratchet.steps.prepare import judge_mode

JournalOf = Callable[[Config], Journal]
"""The journal of a competitor, by its configuration."""


class Arena(Frozen):
    """A tournament's place: its configuration and where its sessions lie."""

    config: Config
    root: Path
    harness: Path
    journal_of: JournalOf

    @classmethod
    def at(cls, call: StepCall) -> Arena:
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


def enter_competitor(arena: Arena, index: int) -> Session:
    """Start a competitor's session, or judge its baseline again.

    Its inputs are the tournament's, so that baseline, noise floor and all runs of
    equal code are shared through the store.  Raises :class:`FixedInputChangedError` if
    a session of its name was started from others, and
    :class:`ratchet.base.errors.ConfigError` if its agent cannot be found.
    """
    own = arena.of(index)
    paths = SessionPaths(own.session, arena.root)
    if own.agent:
        program = agent_program(own.agent, own.agent_command, arena.root)
        require_agent(program, own.agent)
    wanted = _manifest(arena, own)
    if paths.manifest.exists():
        _compare(own, wanted, read_record(Manifest, paths.manifest))
    else:
        if wanted.seed_secret_sha256:
            write_bytes(paths.seed_secret, read_bytes(arena.paths.seed_secret), mode=0o600)
        with sealed_step(paths, "prepare", 0, 0, None):
            write_json(paths.manifest, wanted)
    SessionRepo(paths.repository, own.session).clear_stale_locks()
    session = arena.open(index)
    for number in range(own.baseline_replicates):
        with sealed_step(paths, "baseline_run", 0, number, None):
            write_baseline_run(session, number)
    with sealed_step(paths, "baseline", 0, 0, None):
        write_baseline(session)
    return session


def _manifest(arena: Arena, own: Config) -> Manifest:
    common = read_record(Manifest, arena.paths.manifest)
    frozen = {**to_json_values(own.frozen), "mode": judge_mode(own)}
    return replace(common, session=own.session, frozen=frozen, config_sha256=digest(frozen))


def _compare(own: Config, wanted: Manifest, found: Manifest) -> None:
    """Refuse a session of the same name that is not this tournament's."""
    inputs = (
        *("fixed", "baseline", "data", "locked", "evaluation", "definition", "environment"),
        "seed_secret_sha256",
    )
    different = [name for name in inputs if getattr(found, name) != getattr(wanted, name)]
    frozen = {**wanted.frozen, "mode": found.frozen["mode"]}
    different += [key for key in frozen if found.frozen.get(key) != frozen[key]]
    if different:
        raise FixedInputChangedError(
            f"session {own.session!r} cannot take part, since it was started with another "
            f"{', '.join(different)} than the tournament; choose another name for the "
            "tournament: snakemake --cores 1 evolve --config session=NAME"
        )
