"""Configuration of a session: keys, defaults, checks, strategies."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from ratchet.base.errors import ConfigError, RatchetError
from ratchet.base.io import digest, read_json
from ratchet.base.structs import Frozen, Meta, from_json_values, replace, to_json_values
from ratchet.judge.settings import GUARANTEED_RUNS, certification_budget
from ratchet.records.paths import SessionPaths, session_name
from ratchet.records.proposals import DECLARED, HAND, OPTIMIZERS, TPE


def one_of(*values: str) -> Meta:
    return Meta(extra_json_schema={"enum": list(values)})


def in_file(part: Mapping[str, Any]) -> Meta:
    """Schema of a value as the file has it, where a session holds it as something else."""
    return Meta(extra_json_schema={"in_file": part})


def named(pattern: str, description: str) -> Meta:
    return Meta(pattern=pattern, description=description)


AGENTS = {
    "claude": True,
    "codex": False,
    "gemini": False,
    "aider": True,
    "opencode": True,
    "custom": True,
}
"""Coding agents that can propose, and whether each reports what a call costs."""

TRACKERS = ("trackio", "wandb", "mlflow")
"""Tools that a session can report its runs to."""

Replicates = Annotated[int, Meta(ge=1, le=100)]
Whole = Annotated[int, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(gt=0)]
Price = Annotated[float, Meta(ge=0)]
Minutes = Annotated[float, Meta(ge=0)]
Word = Annotated[str, Meta(min_length=1)]
Command = Annotated[Sequence[Word], Meta(min_length=1)]
Proposer = Annotated[str, one_of("auto", DECLARED, *OPTIMIZERS, HAND, *AGENTS)]
# A person is asked in a session of their own.
Competing = Annotated[str, one_of(DECLARED, *OPTIMIZERS, *AGENTS)]
Steering = Annotated[str, one_of("auto", "explore", "exploit")]

# A task is the path of its folder, or in somebody's repository.
TASK = {
    "type": ["string", "object"],
    "pattern": r"\S",
    "description": "the path of a task's folder",
    "additionalProperties": False,
    "required": ["repo"],
    "properties": {
        "repo": {
            "type": "string",
            "pattern": r"^[^\s-]",
            "description": "the path or address of a git repository",
        },
        "commit": {
            "type": "string",
            "pattern": r"^[^\s-]\S*$",
            "description": "a commit, branch or tag",
        },
        "definition": {
            "type": "string",
            "pattern": r"\S",
            "description": "the name of a known definition or the path of one",
        },
    },
}


class TransferScale(Frozen):
    """Scale at which champion and baseline are compared once more, after the confirmation.

    ``preset`` is one of the task's, the budget one of seconds or steps, and whatever is not
    named is as a session with that preset would have it.  A ``timeout_seconds`` of ``None``
    grows with the budget.  ``replicates`` are runs of champion and of baseline.
    """

    budget_seconds: float | None = None
    budget_steps: int | None = None
    timeout_seconds: float | None = None
    preset: str | None = None
    replicates: int = 3


# A session holds it as the file has it.
TRANSFER = {
    "type": ["object", "null"],
    "additionalProperties": False,
    "properties": {
        "budget_seconds": {"type": "number", "exclusiveMinimum": 0},
        "budget_steps": {"type": "integer", "minimum": 1},
        "timeout_seconds": {"type": "number", "exclusiveMinimum": 0},
        "preset": {
            "type": "string",
            "pattern": r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
            "description": "the name of a preset of the task",
        },
        "replicates": {"type": "integer", "minimum": 1, "maximum": 100},
    },
}

# A session holds it as the file has it.
DEVICES = {
    "type": ["string", "array"],
    "pattern": "^all$",
    "description": "all, or a list of numbers and ids of GPUs",
    "minItems": 1,
    "items": {
        "type": ["integer", "string"],
        "minimum": 0,
        "pattern": "^(GPU|MIG)-",
        "description": "the beginning of a GPU's id, such as GPU-5f0c",
    },
}

STRATEGIES_FILE = "strategies.yaml"
STRATEGY_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,30}$"

LONGEST_SESSION = 64
"""Characters of a session's name, which a competitor's contains."""


class Strategy(Frozen):
    """Way in which one competitor proposes.

    ``proposer``, ``agent_command`` and ``steering`` replace those of the
    configuration.  ``order`` ``random`` ignores steering's ranking.  Categories in
    ``first`` come before all others until each was tried ``first_tries`` times;
    with ``only`` there are no others.  ``steps`` says which of a category's declared
    edits come first: as ``declared``, the smallest or the largest change.  The
    ``brief`` is for agents, and for people.
    """

    name: str
    brief: Annotated[str, named(r"\S", "what the strategy is about")]
    proposer: Proposer | None = None
    agent_command: Command | None = None
    steering: Steering | None = None
    order: Annotated[str, one_of("ranked", "random")] = "ranked"
    first: tuple[Word, ...] = ()
    first_tries: Count = 5
    only: tuple[Word, ...] = ()
    steps: Annotated[str, one_of("declared", "small", "large")] = "declared"

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Strategy:
        """The strategy that a configuration holds as a mapping."""
        return from_json_values(cls, to_json_values(values), "strategy")


def strategies_schema() -> dict[str, Any]:
    """The JSON schema of a file of strategies by name."""
    from ratchet.base.schema import schema_of

    one = schema_of(Strategy, f"config/{STRATEGIES_FILE}", without=("name",))
    about = {key: one.pop(key) for key in ("$schema", "title")}
    names = {"type": "object", "propertyNames": {"pattern": STRATEGY_NAME}}
    return {**about, **names, "additionalProperties": one}


def read_strategies(path: Path) -> dict[str, dict[str, Any]]:
    """All strategies of a file, by name and complete.

    Raises :class:`ConfigError` with one line per mistake.
    """
    from ratchet.base.schema import check_schema, load_yaml  # YAML is slow to import

    values = load_yaml(path)
    check_schema(values, strategies_schema(), str(path))
    for name in values:
        if re.fullmatch(r"\d+", str(name)):
            raise ConfigError(f"{path}: {name}: expected a name with a letter in it")
    return {str(n): to_json_values(Strategy.of({"name": str(n), **v})) for n, v in values.items()}


def known_strategies(shipped: Path, own: Path | None) -> dict[str, dict[str, Any]]:
    """The strategies of the folder ``shipped``, and those that a user has in ``own``."""
    known = read_strategies(shipped / STRATEGIES_FILE)
    if own is not None and (own / STRATEGIES_FILE).is_file() and own.resolve() != shipped.resolve():
        known |= read_strategies(own / STRATEGIES_FILE)
    return known


def choose_strategies(
    names: Sequence[str], known: Mapping[str, dict[str, Any]], session: str, where: str
) -> list[dict[str, Any]]:
    """The strategies of these names; each takes part once.

    Raises :class:`ConfigError` for a name that nobody defined, that stands twice, or
    that makes the name of the competitor's session too long.
    """
    from ratchet.base.schema import suggest_name

    chosen = []
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{where}: expected a strategy of config/{STRATEGIES_FILE}, found {name!r:.60}"
                f"{suggest_name(name, known)}"
            )
        if names.count(name) > 1:
            raise ConfigError(
                f"{where}: strategies: {name} stands there twice; equal competitors would only "
                f"do the same (give a copy another name in config/{STRATEGIES_FILE})"
            )
        if len(session) + 1 + len(name) > LONGEST_SESSION:
            raise ConfigError(
                f"{where}: the session of a competitor would be called {session}.{name}; expected "
                f"at most {LONGEST_SESSION} characters, choose a shorter `session`"
            )
        chosen.append(known[name])
    return chosen


FROZEN_KEYS = (
    "task", "preset", "seed", "seeds", "candidates", "baseline_replicates", "budget_seconds",
    "budget_steps", "timeout_seconds", "steering", "strategy", "remember",
)  # fmt: skip
"""What a running session's results rest on.  Changing one of these needs a new
session; everything else may change at any time."""

LIMIT_KEYS = (
    "target", "deadline_hours", "leg", "max_runs", "proposer", "proposers", "agent_command",
    "agent_minutes", "agent_wait_minutes", "agent_tokens", "agent_dollars", "agent_failures",
)  # fmt: skip
"""What decides when to stop; a change lets a stopped session go on."""

JUDGE_KEYS = (
    "mode", "max_replicates", "line_price", "memory_price", "remeasure_every", "memory_ceiling_mb",
    "memory_ceiling",
)  # fmt: skip
"""What a verdict depends on; a change judges all rounds again."""

PASSWORD = (
    r"\w[\w+.-]*://[^/@:]*:(?![0-9]+/)[^@]*@"  # it may have slashes, and a port is none
    r"|\w[\w+.-]*://[^?]*\?[^=]*="
    r"|[\w.-]+:[^/@]+@[\w.-]+:"
)
"""The beginning of an address with a password or a signature in it."""

ADDRESS = rf"^(?![-\s])(?!{PASSWORD})[^\n]*\S$"
"""Of a mirror: settings are kept with the session, so that an address holds no password."""

GUARANTEED = "guaranteed"
AUTO = "auto"
SESSION = r"^(?!.*\.\.)(?!.*\.lock$)[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?$"
PRESET = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"

# In the file strategies are names; a session holds them whole.
Competitor = Annotated[Mapping[str, Any], in_file({"type": "string", "minLength": 1})]
Followed = Annotated[
    Mapping[str, Any] | None, in_file({"type": ["string", "null"], "minLength": 1})
]

INCUMBENT_RUNS_AFTER_KEEP = 3
"""Mode `guaranteed` tests candidates by fresh runs of them and of the incumbent: one of
the incumbent in a round with a test, and so many more after a keep."""


class Config(Frozen):
    """One field per key of ``config/config.yaml``; see ``config/README.md``.

    The types are what ``config/schema.yaml`` is made from: ``python -m ratchet.config``.
    """

    session: Annotated[
        str,
        named(
            SESSION, 'a name of letters, digits and . _ - (at most 64, no "..", no dot at the end)'
        ),
    ]
    task: Annotated[str | Mapping[str, str], in_file(TASK)]
    preset: Annotated[str, named(PRESET, "auto, null or the name of a preset of the task")] | None
    python: Annotated[str, named(r"\S", "the folder of an environment or an interpreter")] | None
    rounds: Annotated[int, Meta(ge=1, le=9999)]
    candidates: Annotated[int, Meta(ge=1, le=64)]
    baseline_replicates: Replicates
    max_replicates: Replicates
    confirm_replicates: Replicates
    certify: bool
    transfer: Annotated[Mapping[str, Any] | None, in_file(TRANSFER)]
    budget_seconds: Amount | None
    budget_steps: Count | None
    timeout_seconds: Amount | None
    mode: Annotated[str, one_of("auto", "liberal", "gain", "balanced", "strict", GUARANTEED)]
    line_price: Price | None
    memory_price: Price | None
    remeasure_every: Whole
    memory_ceiling_mb: Amount | None
    memory_ceiling: Annotated[str, one_of("soft", "hard")]
    steering: Steering
    seed: Whole
    seeds: Annotated[str, one_of("secret", "public")]
    devices: Annotated[str | Sequence[int | str], in_file(DEVICES)]
    share_after_minutes: Minutes | None
    isolation: Annotated[str, one_of("auto", "none", "landlock", "container", "bubblewrap")]
    compile_cache_gb: Price
    target: float | None
    proposer: Proposer
    proposers: Annotated[Sequence[Competing], Meta(min_length=2)] | None
    agent_command: Command | None
    agent_minutes: Amount
    agent_wait_minutes: Minutes
    agent_tokens: Count | None
    agent_dollars: Amount | None
    agent_failures: Count
    lookahead: Annotated[int, Meta(ge=0, le=9)] | None
    remember: Sequence[Annotated[str, named(SESSION, "the name of a session")]]
    notify_command: Command | None
    notify_failures: Count
    trackers: Sequence[Annotated[str, one_of(*TRACKERS)]]
    mirror: (
        Annotated[str, named(ADDRESS, "a folder, HOST:PATH or an address, without a password")]
        | None
    )
    deadline_hours: Amount
    leg: Count
    max_runs: Count | None
    strategy: Followed
    strategies: Annotated[Sequence[Competitor], Meta(min_length=1, max_length=64)]
    evolve_rounds: Annotated[int, Meta(ge=1, le=999)]
    evolve_runs: Annotated[int, Meta(ge=1, le=999)]
    pollination: Annotated[str, one_of("patches", "best", "none")]
    worktrees: Annotated[str, named(r"\S", "the path of a folder")] | None

    @property
    def frozen(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in FROZEN_KEYS}

    def settled(self, mode: str) -> Config:
        """Config whose ``auto`` is replaced by the mode that the session started with."""
        return replace(self, mode=mode) if self.mode == "auto" else self

    @property
    def limits(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in LIMIT_KEYS}

    @property
    def limits_token(self) -> str:
        """Names the file that a change of a limit makes anew."""
        return digest(self.limits)[:12]

    @property
    def turns(self) -> tuple[str, ...]:
        """Those who propose, the first one first as long as nobody has a record."""
        if self.proposers:
            return tuple(self.proposers)
        return (DECLARED, TPE) if self.proposer == AUTO else (self.proposer,)

    @property
    def agent(self) -> str:
        """The coding agent among those who propose; empty without one."""
        return next((name for name in self.turns if name in AGENTS), "")

    @property
    def ahead(self) -> int:
        """Rounds by which an agent is asked before its own: it thinks while others train."""
        if not self.agent:
            return 0
        return 1 if self.lookahead is None else self.lookahead

    def following(self, strategy: Mapping[str, Any]) -> Config:
        """Config with a strategy's overrides applied."""
        named = {k: strategy[k] for k in ("steering", "proposer") if strategy[k] is not None}
        if named.get("proposer"):
            named["agent_command"] = strategy["agent_command"]
            named["proposers"] = None
        return replace(self, strategy=strategy, **named)

    def competitor(self, strategy: Mapping[str, Any]) -> Config:
        """The configuration of a competitor's own session in this tournament."""
        name = session_name(self.session, strategy["name"])
        rounds = self.evolve_rounds * self.evolve_runs
        # Only the tournament's champion is confirmed, and nobody is certified.  A leg plays
        # one round after the other: nothing trains while an agent is asked.
        alone = {"certify": False, "transfer": None, "lookahead": 0}
        return replace(self.following(strategy), session=name, rounds=rounds, **alone)

    @property
    def transfer_scale(self) -> TransferScale | None:
        """The other scale at which the champion is to be compared, if any."""
        return None if self.transfer is None else from_json_values(TransferScale, self.transfer)

    @property
    def transfer_runs(self) -> int:
        """Runs of champion and baseline at another scale."""
        return 0 if self.transfer_scale is None else 2 * self.transfer_scale.replicates

    @property
    def judging(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in JUDGE_KEYS}

    @property
    def incumbent_runs(self) -> int:
        """Most runs of the incumbent that tests may take in one round.

        All candidates of a round are tested against the same ones.
        """
        return 1 + INCUMBENT_RUNS_AFTER_KEEP if self.mode == GUARANTEED else 0

    @property
    def retests(self) -> int:
        """Most runs of one candidate after its first."""
        # At least one: an implausible improvement is run again in any case.
        return max(self.max_replicates - 1, 1)

    @property
    def experiment_runs(self) -> int:
        """Most runs of one experiment, those of the incumbent included."""
        return 1 + self.retests + self.incumbent_runs + (self.remeasure_every > 0)

    @property
    def further_runs(self) -> int:
        """Most runs of one round beyond its candidates' first."""
        retests = self.candidates * self.retests
        return retests + self.incumbent_runs + (self.remeasure_every > 0)

    @property
    def reserved_runs(self) -> int:
        """Runs that a round may need at most beyond its candidates' first."""
        # Without what adds nothing the champion is run once before it is confirmed.
        certification = self.certification_runs + bool(self.certification_runs)
        closing = certification + 2 * self.confirm_replicates + self.transfer_runs
        return self.further_runs + closing

    @property
    def certification_runs(self) -> int:
        """Most runs of the certification."""
        planned = self.baseline_replicates + self.rounds * self.candidates
        if self.max_runs is not None:
            planned = min(planned, self.max_runs)
        return certification_budget(planned) if self.certify and self.confirm_replicates else 0


def read_config(path: Path) -> dict[str, Any]:
    """The values in a configuration file, not yet checked."""
    from ratchet.base.schema import load_yaml  # YAML is slow to import; the scripts get JSON

    values = load_yaml(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values, found {values!r:.60}")
    return values


GIVEN, INSTEAD_OF = "given", "instead_of"
_HEAD = (
    "# What command lines gave beside config.yaml; a call that names the session alone takes it.\n"
)


def given_before(paths: SessionPaths, written: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Settings that earlier command lines of a session gave, and that still count.

    A free key that ``written``, the configuration file, has changed since counts as there.
    Raises :class:`ConfigError` for a damaged file.
    """
    from ratchet.base.schema import load_yaml

    if not paths.settings.is_file():
        return {}
    found = load_yaml(paths.settings)
    found = found if isinstance(found, dict) else {}
    given, instead = found.get(GIVEN), found.get(INSTEAD_OF)
    if not (isinstance(given, dict) and isinstance(instead, dict)):
        raise ConfigError(
            f"{paths.settings}: expected the mappings {GIVEN} and {INSTEAD_OF}, found others; "
            "delete the file, and give the session's settings once more"
        )
    return {
        key: value
        for key, value in given.items()
        if key in Config.__struct_fields__
        and (written is None or key in FROZEN_KEYS or written.get(key) == instead.get(key))
    }


def given_in_all(
    paths: SessionPaths, given: Mapping[str, Any], written: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What a session's command line gives now; if it names the session, earlier ones too."""
    return {**(given_before(paths, written) if "session" in given else {}), **given}


def given_text(paths: SessionPaths, given: Mapping[str, Any], written: Mapping[str, Any]) -> str:
    """Text of the file that keeps what a session was given in all."""
    import yaml

    known = given_in_all(paths, given, written)
    differing = {k: v for k, v in known.items() if k != "session" and v != written.get(k)}
    instead = {key: written.get(key) for key in differing}
    return _HEAD + yaml.safe_dump({GIVEN: differing, INSTEAD_OF: instead}, allow_unicode=True)


def session_values(
    written: Mapping[str, Any], given: Mapping[str, Any], root: Path
) -> dict[str, Any]:
    """Raw settings of a session: those ``given`` now come before the ``written``.

    Where the session is named its own come in between: what earlier command lines gave, and
    what it froze at its start.
    """
    name = given.get("session")
    if not (isinstance(name, str) and re.match(SESSION, name)):
        return {**written, **given}
    paths, frozen = SessionPaths(name, root), dict[str, Any]()
    if paths.manifest.is_file():
        kept = read_json(paths.manifest).get("frozen", {})  # whoever opens it checks the whole
        frozen = {key: kept[key] for key in FROZEN_KEYS if key in kept}
        if frozen.get("strategy"):  # whose name stands in the file
            frozen["strategy"] = frozen["strategy"]["name"]
    return {**written, **given_before(paths, written), **frozen, **given}


_PLAIN = re.compile(r"[A-Za-z./][\w./~+-]*|~/[\w./~+-]+")
_READ_OTHERWISE = re.compile(r"(?i)null|true|false|yes|no|on|off|nan|inf(inity)?|\.(inf|nan)|\.")


def setting(value: Any) -> str:
    """A setting as Snakemake reads it after ``--config KEY=``."""
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and not _READ_OTHERWISE.fullmatch(value)
        return value if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping) and all(isinstance(v, str | int) for v in value.values()):
        return f"{{{', '.join(f'{key}: {setting(v)}' for key, v in value.items())}}}"
    return json.dumps(to_json_values(value), ensure_ascii=False)


def workflow_command(
    paths: SessionPaths,
    given: Mapping[str, Any] | None = None,
    words: str = "",
    harness: Path | None = None,
) -> str:
    """The command line of a session's workflow, as it is to be typed in this folder.

    ``words`` are targets and options before the settings.  ``given`` are its settings beside
    the configuration file; a started session has its own.
    ``harness`` is the folder of the Snakefile, where that may be another one.
    """
    line = ["snakemake"]
    if harness is not None and not _is_same(paths.root / "Snakefile", harness / "Snakefile"):
        line += ["-s", str(harness.resolve() / "Snakefile")]
    if not _is_same(paths.root, Path()):
        line += ["--directory", str(paths.root)]
    line += ["--cores", "1", *words.split(), "--config"]
    values = {
        "session": paths.session,
        **{k: v for k, v in (given or {}).items() if k != "session"},
    }
    return shlex.join([*line, *(f"{key}={setting(value)}" for key, value in values.items())])


def _is_same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def another_session(paths: SessionPaths) -> SessionPaths:
    """The next session of a name that is free: ``night`` leads to ``night-2``."""
    stem = re.sub(r"-\d+$", "", paths.session)[: LONGEST_SESSION - 5]
    names = (f"{stem}-{number}" for number in range(2, 10_000))
    other = (replace(paths, session=name) for name in names)
    return next(each for each in other if not each.folder.exists())


_COMMAND = re.compile(
    r"snakemake --cores 1(?P<words>(?: -{0,2}[A-Za-z]\w*)*) --config session=(?P<which>THIS|NAME)"
    r"(?P<more>(?: [a-z_]+=[^\s;,()']+| '[a-z_]+=[^']*')*)"
)


def spell_commands(
    text: str,
    paths: SessionPaths,
    given: Mapping[str, Any] | None = None,
    harness: Path | None = None,
) -> str:
    """A message whose commands of the workflow are whole, ready to be typed.

    ``given`` are the session's settings beside the configuration file, by default those of
    its earlier command lines.  A session that has started needs none of them.
    """

    from ratchet.base.schema import parse_yaml

    def spelled(match: re.Match[str]) -> str:
        values = given_before(paths) if given is None else dict(given)
        here = paths if match["which"] == "THIS" else another_session(paths)
        if here.manifest.is_file():
            values = {}
        pairs = [pair.partition("=") for pair in shlex.split(match["more"])]
        more = {key: parse_yaml(value.encode(), key) for key, _, value in pairs}
        return workflow_command(here, {**values, **more}, match["words"], harness)

    return _COMMAND.sub(spelled, text) if "session=" in text else text


@contextlib.contextmanager
def spelled_commands(
    paths: SessionPaths, given: Mapping[str, Any] | None = None, harness: Path | None = None
) -> Iterator[None]:
    """Context whose errors spell their commands as :func:`spell_commands` does."""
    try:
        yield
    except RatchetError as error:
        error.args = (spell_commands(str(error), paths, given, harness),)
        raise


def parse_config(
    values: Mapping[str, Any], schema_path: Path, where: str, folder: Path | None = None
) -> Config:
    """Check raw values and build a :class:`Config`.

    Strategies of ``folder`` come before those beside the schema.  Raises
    :class:`ConfigError` with one line per mistake.
    """
    from ratchet.base.schema import check_schema, load_yaml

    check_schema(dict(values), load_yaml(schema_path), where)
    known = known_strategies(schema_path.parent, folder)
    taking_part = choose_strategies(values["strategies"], known, values["session"], where)
    try:
        config = Config(**{**values, "strategy": None, "strategies": taking_part})
    except TypeError as error:  # the schema is another checkout's
        raise ConfigError(
            f"{where}: expected the settings of this version of Ratchet, found another's "
            f"({error}); use the commands of that checkout, or bring both to one version"
        ) from None
    if values["strategy"] is not None:
        config = config.following(choose_strategies([values["strategy"]], known, "", where)[0])
    _check_together(config, where)
    for strategy in taking_part:
        _check_agent(config.following(strategy), f"{where}: strategy {strategy['name']}")
    return config


STAND_INS = {
    "session": "default",
    "task": "tasks/bytelm",
    "devices": "all",
    "strategies": ["conservative"],
}
"""Values of keys that no other value could stand for."""


def settle_config(
    values: Mapping[str, Any], harness: Path, where: str, root: Path
) -> tuple[Config, list[RatchetError]]:
    """A configuration to check everything else with, and the faults of these values.

    A key that is wrong, or missing, has some value that is right.
    """
    from ratchet.base.schema import faulty_keys, least_value, load_yaml

    path = harness / "config" / "schema.yaml"
    schema = load_yaml(path)
    parts, wrong = schema["properties"], faulty_keys(dict(values), schema)
    least = {key: STAND_INS.get(key, least_value(part)) for key, part in parts.items()}
    right = {**least, **{k: v for k, v in values.items() if k in parts and k not in wrong}}
    kept = ("session", "task", "preset", "python")
    faults: list[RatchetError] = []
    for attempt in (values, right, {**least, **{key: right[key] for key in kept}}):
        try:
            return parse_config(attempt, path, where, root / "config"), faults
        except RatchetError as error:
            if str(error) not in map(str, faults):
                faults.append(error)
    raise faults[-1]


def _check_agent(config: Config, where: str) -> None:
    """Refuse settings of an agent that do not go together."""
    if not config.agent:
        return
    if config.agent == "custom" and config.agent_command is None:
        raise ConfigError(
            f"{where}: agent_command: expected the words of the agent's command, since proposer "
            'is custom, such as [python, "{root}/agent.py"], found null'
        )
    if config.agent_dollars is not None and not AGENTS[config.agent]:
        raise ConfigError(
            f"{where}: agent_dollars: {config.agent} does not report what it costs; set "
            "agent_tokens instead"
        )


def _check_turns(config: Config, where: str) -> None:
    """Refuse proposers that could not take turns."""
    names = config.proposers or ()
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{where}: proposers: {name} stands there twice")
    agents = [name for name in names if name in AGENTS]
    if len(agents) > 1:
        raise ConfigError(
            f"{where}: proposers: expected at most one coding agent, found {', '.join(agents)}; "
            "let agents compete in a tournament, each with a strategy of its own"
        )


def _check_together(config: Config, where: str) -> None:
    if config.budget_seconds is not None and config.budget_steps is not None:
        raise ConfigError(f"{where}: set budget_seconds or budget_steps, and not both")
    _check_turns(config, where)
    if config.lookahead and not config.agent:
        raise ConfigError(
            f"{where}: lookahead: expected null or 0 where no coding agent proposes, found "
            f"{config.lookahead}"
        )
    _check_agent(config, where)
    _check_transfer(config, where)
    if config.mode == GUARANTEED and config.max_replicates < GUARANTEED_RUNS:
        raise ConfigError(
            f"{where}: max_replicates: expected at least {GUARANTEED_RUNS} in mode "
            f"{GUARANTEED} (a first run, and fresh ones to test it), found "
            f"{config.max_replicates}"
        )
    least = config.baseline_replicates + config.candidates + config.reserved_runs
    if config.max_runs is not None and config.max_runs < least:
        raise ConfigError(
            f"{where}: max_runs: expected at least {least} (baseline, one round with retests, "
            f"certification, confirmation, transfer), found {config.max_runs}"
        )


def _check_transfer(config: Config, where: str) -> None:
    """Refuse another scale that names none, or two budgets."""
    scale = config.transfer_scale
    if scale is None:
        return
    budgets = [scale.budget_seconds, scale.budget_steps]
    if None not in budgets:
        raise ConfigError(f"{where}: transfer: set budget_seconds or budget_steps, and not both")
    if scale.preset is None and budgets == [None, None]:
        raise ConfigError(
            f"{where}: transfer: expected another budget or a preset, such as "
            f"{{budget_seconds: 900}} or {{preset: gpu-24gb}}, found {dict(config.transfer or {})}"
        )


def resolve_task_folder(name: str, root: Path, harness: Path) -> Path:
    """A task's folder: below the working folder if it is there, else the Snakefile's."""
    path = Path(name).expanduser()
    if path.is_absolute() or (root / path).exists():
        return root / path
    return harness / path


def write_schema() -> None:
    """Write ``config/schema.yaml`` from the types; run as ``python -m ratchet.config``."""
    from ratchet.base.schema import schema_of, schema_text

    made = schema_text(schema_of(Config, "config/config.yaml"))
    Path("config/schema.yaml").write_text(made)


if __name__ == "__main__":
    write_schema()
