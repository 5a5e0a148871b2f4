"""The configuration of a session, checked once when Snakemake loads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ratchet import strategies
from ratchet.canonical import digest
from ratchet.errors import ConfigError
from ratchet.proposals import DECLARED, HAND
from ratchet.proposers import tools
from ratchet.tournaments import session_name

# What a running session's results rest on.  Changing one of these needs a new
# session; everything else may change at any time.
FROZEN_KEYS = (
    "task",
    "preset",
    "seed",
    "candidates",
    "baseline_replicates",
    "budget_seconds",
    "budget_steps",
    "timeout_seconds",
    "steering",
    "strategy",
)
# What decides when to stop; a change lets a stopped session go on.
LIMIT_KEYS = (
    "target",
    "deadline_hours",
    "leg",
    "max_runs",
    "proposer",
    "agent_command",
    "agent_minutes",
    "agent_tokens",
    "agent_dollars",
    "agent_failures",
)
# What a verdict depends on; a change judges all rounds again.
JUDGE_KEYS = (
    "mode",
    "max_replicates",
    "line_price",
    "memory_price",
    "remeasure_every",
    "memory_ceiling_mb",
    "memory_ceiling",
)

GUARANTEED = "guaranteed"
# Mode `guaranteed` tests a candidate by fresh runs of it and of the incumbent: one of
# the incumbent per candidate, and so many more after a keep.
INCUMBENT_RUNS_AFTER_KEEP = 3


@dataclass(frozen=True)
class Config:
    """One field per key of ``config/config.yaml``; see ``config/README.md``."""

    session: str
    task: str | Mapping[str, str]
    preset: str | None
    python: str | None
    rounds: int
    candidates: int
    baseline_replicates: int
    max_replicates: int
    confirm_replicates: int
    budget_seconds: float | None
    budget_steps: int | None
    timeout_seconds: float | None
    mode: str
    line_price: float | None
    memory_price: float | None
    remeasure_every: int
    memory_ceiling_mb: float | None
    memory_ceiling: str
    steering: str
    seed: int
    isolation: str
    target: float | None
    proposer: str
    agent_command: Sequence[str] | None
    agent_minutes: float
    agent_tokens: int | None
    agent_dollars: float | None
    agent_failures: int
    notify_command: Sequence[str] | None
    notify_failures: int
    deadline_hours: float
    leg: int
    max_runs: int | None
    strategy: Mapping[str, Any] | None
    strategies: Sequence[Mapping[str, Any]]
    evolve_rounds: int
    evolve_runs: int
    pollination: str
    worktrees: str | None

    @property
    def frozen(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in FROZEN_KEYS}

    def settled(self, mode: str) -> Config:
        """The same with what ``auto`` was decided to be when the session started."""
        return dataclasses.replace(self, mode=mode) if self.mode == "auto" else self

    @property
    def limits(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in LIMIT_KEYS}

    @property
    def limits_token(self) -> str:
        """Names the file that a change of a limit makes anew."""
        return digest(self.limits)[:12]

    @property
    def by_agent(self) -> bool:
        """Whether an agent proposes."""
        return self.proposer not in (DECLARED, HAND)

    def following(self, strategy: Mapping[str, Any]) -> Config:
        """The same for whoever follows a strategy: what that names comes first."""
        named = {k: strategy[k] for k in ("steering", "proposer") if strategy[k] is not None}
        if named.get("proposer"):
            named["agent_command"] = strategy["agent_command"]
        return dataclasses.replace(self, strategy=strategy, **named)

    def competitor(self, strategy: Mapping[str, Any]) -> Config:
        """The configuration of a competitor's own session in this tournament."""
        name = session_name(self.session, strategy["name"])
        rounds = self.evolve_rounds * self.evolve_runs
        return dataclasses.replace(self.following(strategy), session=name, rounds=rounds)

    @property
    def judging(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in JUDGE_KEYS}

    @property
    def incumbent_runs(self) -> int:
        """Most runs of the incumbent that the judge may ask for in one round."""
        if self.mode != GUARANTEED:
            return 0
        return self.candidates + INCUMBENT_RUNS_AFTER_KEEP

    @property
    def judges_runs(self) -> int:
        """Most runs that the judge may ask for in one round."""
        # At least one each: an implausible improvement is run again in any case.
        retests = self.candidates * max(self.max_replicates - 1, 1)
        checks = 1 if self.remeasure_every else 0
        return retests + self.incumbent_runs + checks

    @property
    def reserved_runs(self) -> int:
        """Runs that a round may need at most beyond its candidates' first."""
        return self.judges_runs + 2 * self.confirm_replicates


def read(path: Path) -> dict[str, Any]:
    """The values in a configuration file, not yet checked."""
    from ratchet import schema  # YAML is slow to import; the scripts get JSON

    values = schema.load_yaml(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values, found {values!r:.60}")
    return values


def parse(
    values: Mapping[str, Any], schema_path: Path, where: str, folder: Path | None = None
) -> Config:
    """Check raw values and build a :class:`Config`.

    Strategies of ``folder`` come before those beside the schema.  Raises
    :class:`ConfigError` with one line per mistake.
    """
    from ratchet import schema

    rules = schema.load_yaml(schema_path)
    schema.check(dict(values), rules, where)
    known = strategies.known(schema_path.parent, folder)
    taking_part = strategies.choose(values["strategies"], known, values["session"], where)
    config = Config(
        **{
            **{f.name: values[f.name] for f in dataclasses.fields(Config)},
            "strategy": None,
            "strategies": taking_part,
        }
    )
    if values["strategy"] is not None:
        config = config.following(strategies.choose([values["strategy"]], known, "", where)[0])
    _check_together(config, where)
    for strategy in taking_part:
        _check_agent(config.following(strategy), f"{where}: strategy {strategy['name']}")
    return config


def _check_agent(config: Config, where: str) -> None:
    if config.by_agent:
        tools.check(config.proposer, config.agent_command, config.agent_dollars, where)


_MARKS = {
    "{event}": "RATCHET_EVENT",
    "{session}": "RATCHET_SESSION",
    "{message}": "RATCHET_MESSAGE",
}


def _check_together(config: Config, where: str) -> None:
    for mark, variable in _MARKS.items():
        if any(mark in word for word in config.notify_command or ()):
            raise ConfigError(
                f"{where}: notify_command: {mark} is not replaced in a command's words; the "
                f'command finds it in its variable {variable}, such as [sh, -c, "notify-send '
                '\\"$RATCHET_MESSAGE\\""], and as JSON on standard input'
            )
    if config.budget_seconds is not None and config.budget_steps is not None:
        raise ConfigError(f"{where}: set budget_seconds or budget_steps, and not both")
    _check_agent(config, where)
    if config.mode == GUARANTEED:
        from ratchet.judge.settings import GUARANTEED_RUNS  # slow to import

        if config.max_replicates < GUARANTEED_RUNS:
            raise ConfigError(
                f"{where}: max_replicates: expected at least {GUARANTEED_RUNS} in mode "
                f"{GUARANTEED} (a first run, and fresh ones to test it), found "
                f"{config.max_replicates}"
            )
    least = config.baseline_replicates + config.candidates + config.reserved_runs
    if config.max_runs is not None and config.max_runs < least:
        raise ConfigError(
            f"{where}: max_runs: expected at least {least} (baseline, one round with retests, "
            f"confirmation), found {config.max_runs}"
        )


def resolve(name: str, root: Path, harness: Path) -> Path:
    """A task's folder: below the working folder if it is there, else the Snakefile's."""
    path = Path(name).expanduser()
    if path.is_absolute() or (root / path).exists():
        return root / path
    return harness / path
