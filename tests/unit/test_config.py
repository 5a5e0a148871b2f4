"""The configuration: one schema, one file, one page, and they agree."""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from helpers import REPO
from ratchet.base.errors import ANOTHER_SESSION, THIS_SESSION, ConfigError
from ratchet.base.schema import schema_of, schema_text
from ratchet.base.structs import to_json_values
from ratchet.config import (
    FROZEN_KEYS,
    JUDGE_KEYS,
    LIMIT_KEYS,
    STRATEGIES_FILE,
    TRANSFER,
    Config,
    Strategy,
    TransferScale,
    choose_strategies,
    given_before,
    given_text,
    known_strategies,
    parse_config,
    read_config,
    read_strategies,
    resolve_task_folder,
    session_values,
    settle_config,
    spell_commands,
    workflow_command,
)
from ratchet.proposers.prompts import strategy_words
from ratchet.records.paths import SessionPaths

FOLDER = REPO / "config"
SCHEMA = FOLDER / "schema.yaml"
DEFAULTS = read_config(FOLDER / "config.yaml")


def configured(**change: object) -> Config:
    return parse_config({**DEFAULTS, **change}, SCHEMA, "config.yaml")


def test_file_page_and_types_agree() -> None:
    page = (FOLDER / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| `(.*?)` \| (yes)? ?\| .+ \|$", page, re.M)
    assert set(DEFAULTS) == {name for name, _, _ in rows} == set(Config.__struct_fields__)
    for name, default, frozen in rows:
        assert yaml.safe_load(default) == DEFAULTS[name], name
        assert bool(frozen) == (name in FROZEN_KEYS), name
    made = schema_text(schema_of(Config, "config/config.yaml"))
    assert SCHEMA.read_text() == made, "make it again with: python -m ratchet.config"


def test_the_schema_of_another_scale_is_that_of_its_type() -> None:
    made = schema_of(TransferScale, "")["properties"]
    assert set(TRANSFER["properties"]) == set(made)
    assert TransferScale().replicates == made["replicates"]["default"] == 3


WRONG = [
    ({"rounds": 0}, "rounds: expected at least 1, found 0"),
    ({"rounds": 2.5}, "rounds: expected a whole number, found 2.5"),
    ({"rounds": True}, "rounds: expected a whole number, found True"),
    ({"deadline_hours": 0}, "deadline_hours: expected more than 0, found 0"),
    ({"target": "low"}, "target: expected a number or null, found 'low'"),
    ({"steering": "wild"}, "steering: expected one of auto, explore, exploit"),
    ({"baseline_replicates": 0}, "at least 1"),
    ({"roundz": 1}, "unknown key 'roundz'; did you mean 'rounds'?"),
    ({"zzz": 1}, "unknown key 'zzz'; known are agent_command"),
    *(({"session": name}, "session: expected a name") for name in ("a..b", "a.lock", ".a", "a\nb")),
    ({"max_runs": 13}, "max_runs: expected at least 19"),
    ({"budget_steps": 1, "budget_seconds": 1}, "not both"),
    ({"line_price": -1}, "line_price: expected at least 0, found -1"),
    ({"memory_price": "free"}, "memory_price: expected a number or null, found 'free'"),
    ({"remeasure_every": 0.5}, "remeasure_every: expected a whole number, found 0.5"),
    ({"proposer": "hal"}, "proposer: expected one of auto, declared, tpe, cmaes, random, hand,"),
    ({"proposers": ["declared"]}, "proposers"),
    ({"proposers": ["declared", "hand"]}, "proposers.1: expected one of declared, tpe, cmaes"),
    ({"proposers": ["tpe", "declared", "tpe"]}, "proposers: tpe stands there twice"),
    ({"proposers": ["claude", "codex"]}, "at most one coding agent, found claude, codex"),
    ({"proposers": ["tpe", "custom"]}, "agent_command: expected the words of the agent's"),
    ({"proposer": "custom"}, "agent_command: expected the words of the agent's command"),
    ({"agent_command": "codex exec"}, "agent_command: expected a list or null"),
    ({"agent_command": ["sh", 3]}, "agent_command.1: expected text, found 3"),
    ({"agent_minutes": 0}, "agent_minutes: expected more than 0"),
    ({"agent_wait_minutes": -1}, "agent_wait_minutes: expected at least 0, found -1"),
    ({"proposer": "gemini", "agent_dollars": 1}, "gemini does not report what it costs"),
    ({"remember": "night"}, "remember: expected a list, found 'night'"),
    ({"remember": ["a..b"]}, "remember.0: expected the name of a session, found 'a..b'"),
    ({"mode": "sure"}, "mode: expected one of auto, liberal, gain, balanced, strict, guaranteed"),
    ({"mode": "guaranteed", "max_replicates": 2}, "max_replicates: expected at least 3"),
    ({"mode": "guaranteed", "max_runs": 17}, "max_runs: expected at least 23"),
    ({"remeasure_every": 5, "max_runs": 14}, "max_runs: expected at least 20"),
    ({"lookahead": 1}, "lookahead: expected null or 0 where no coding agent proposes, found 1"),
    ({"lookahead": -1, "proposer": "codex"}, "lookahead: expected at least 0, found -1"),
    ({"transfer": 900}, "transfer: expected a mapping or null, found 900"),
    ({"transfer": {"replicates": 3}}, "transfer: expected another budget or a preset"),
    ({"transfer": {"budget_seconds": 9, "budget_steps": 9}}, "transfer: set budget_seconds or"),
    ({"transfer": {"budget_seconds": 0}}, "transfer.budget_seconds: expected more than 0"),
    ({"transfer": {"task": "tasks/gpt"}}, "transfer: unknown key 'task'; known are budget_sec"),
    ({"transfer": {"budget_steps": 9}, "max_runs": 22}, "max_runs: expected at least 25"),
]


WRONG += [
    ({"devices": "some"}, "devices: expected all, or a list of numbers and ids of GPUs, found"),
    ({"devices": [0, "a"]}, "devices.1: expected the beginning of a GPU's id, such as GPU-5f0c"),
    ({"devices": [-1]}, "devices.0: expected at least 0, found -1"),
    ({"devices": []}, "devices: expected"),
    ({"share_after_minutes": -1}, "share_after_minutes: expected at least 0"),
]


@pytest.mark.parametrize(("change", "words"), WRONG)
def test_mistakes_are_named(change: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        configured(**change)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        configured(rounds=-1, seed="x", bad=1)
    assert len(str(caught.value).splitlines()) == 3


def test_who_takes_turns() -> None:
    assert configured().turns == ("declared", "tpe")
    assert configured(proposer="claude").turns == ("claude",)
    several = configured(proposers=["tpe", "codex"], proposer="hand")
    assert (several.turns, several.agent) == (("tpe", "codex"), "codex")
    # A competitor's own proposer takes the place of them all.
    own = {**to_json_values(Strategy(name="a", brief="x", proposer="random"))}
    assert several.following(own).turns == ("random",)


def test_tokens_change_with_the_limits_alone() -> None:
    limits = {"leg": 2, "target": 0.1, "deadline_hours": 1, "max_runs": 99, "proposer": "codex"}
    limits |= {"proposers": ["tpe", "random"]}
    tokens = {configured(**{key: value}).limits_token for key, value in limits.items()}
    assert len(tokens) == len(limits)
    assert configured(rounds=99).limits_token == configured().limits_token not in tokens


def test_a_round_and_an_experiment_have_room_for_their_runs() -> None:
    assert configured().reserved_runs == 4 + 6 + 7
    assert configured(certify=False).reserved_runs == 4 + 6
    assert configured(candidates=3).reserved_runs == 12 + 6 + 9
    scale = {"budget_steps": 9, "replicates": 3}
    assert configured(certify=False, transfer=scale).reserved_runs == 4 + 6 + 6
    assert configured(remeasure_every=2).reserved_runs == 4 + 6 + 7 + 1
    assert configured(mode="guaranteed", candidates=3).reserved_runs == 12 + 6 + 9 + 1 + 3
    assert configured().experiment_runs == configured(candidates=3).experiment_runs == 5
    assert configured(max_replicates=1).experiment_runs == 2
    assert configured(remeasure_every=2, mode="guaranteed").experiment_runs == 5 + 1 + 4


def test_a_mode_may_change_at_any_time_and_auto_is_what_it_was_at_the_start() -> None:
    assert configured().settled("guaranteed").mode == "guaranteed"
    assert configured(mode="strict").settled("gain").mode == "strict"
    assert {*JUDGE_KEYS, *LIMIT_KEYS} <= set(DEFAULTS)
    assert not set(JUDGE_KEYS) & {*FROZEN_KEYS, *LIMIT_KEYS}


def test_a_task_is_looked_for_here_and_then_beside_the_snakefile(tmp_path: Path) -> None:
    here, harness = tmp_path / "here", tmp_path / "harness"
    (harness / "tasks" / "a").mkdir(parents=True)
    assert resolve_task_folder("tasks/a", here, harness) == harness / "tasks/a"
    (here / "tasks" / "a").mkdir(parents=True)
    assert resolve_task_folder("tasks/a", here, harness) == here / "tasks/a"
    assert resolve_task_folder("/abs/a", here, harness) == Path("/abs/a")


KNOWN = read_strategies(FOLDER / STRATEGIES_FILE)


def test_the_strategies_of_the_article_and_of_the_released_tool_are_there() -> None:
    assert list(KNOWN)[:3] == ["conservative", "aggressive", "random"]
    for name in ("architecture", "hyperparams", "optimizer", "regularization", "efficiency"):
        assert Strategy.of(KNOWN[f"{name}-first"]).first[0] == name
    assert Strategy.of(KNOWN["random"]).order == "random"
    assert (KNOWN["conservative"]["steps"], KNOWN["aggressive"]["steps"]) == ("small", "large")


WRONG_STRATEGIES = [
    ("mine: {}", "mine: the key 'brief' is missing"),
    ("mine: {brief: x, stepz: small}", "unknown key 'stepz'; did you mean 'steps'?"),
    ("mine: {brief: x, name: y}", "unknown key 'name'"),
    ("mine: {brief: x, steps: tiny}", "mine.steps: expected one of declared, small, large"),
    ("mine: {brief: x, proposer: hal}", "mine.proposer: expected one of None, auto, declared, tpe"),
    ("mine: {brief: x, first_tries: 0}", "mine.first_tries: expected at least 1"),
    ("'a b': {brief: x}", "a b"),
    ("'12': {brief: x}", "expected a name with a letter in it"),
]


@pytest.mark.parametrize(("text", "words"), WRONG_STRATEGIES)
def test_mistakes_in_strategies_are_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / STRATEGIES_FILE
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"strategies\.yaml") as caught:
        read_strategies(path)
    assert words in str(caught.value)


def test_a_wrong_choice_is_named() -> None:
    for names, session, words in (
        (["agressive"], "s", "did you mean 'aggressive'?"),
        (["zzz"], "s", "known are aggressive, architecture-first"),
        (["random", "random"], "s", "stands there twice"),
        (["random"], "s" * 60, "at most 64 characters"),
    ):
        with pytest.raises(ConfigError, match=re.escape(words)):
            choose_strategies(names, KNOWN, session, "c")


def test_what_a_user_adds_comes_before_what_is_shipped(tmp_path: Path) -> None:
    own = tmp_path / STRATEGIES_FILE
    own.write_text("mine: {brief: x}\nrandom: {brief: less so}")
    known = known_strategies(FOLDER, tmp_path)
    assert set(known) == {*KNOWN, "mine"}
    assert known["random"]["order"] == "ranked"
    assert known_strategies(FOLDER, tmp_path / "none") == known_strategies(FOLDER, None) == KNOWN
    own.write_text("mine: {brief: x, proposer: custom}")
    with pytest.raises(ConfigError, match="strategy mine: agent_command"):
        parse_config({**DEFAULTS, "strategies": ["mine"]}, SCHEMA, "c", tmp_path)


def test_competitors_are_sessions_of_their_own_with_what_their_strategy_names() -> None:
    config = configured(strategies=["aggressive"], evolve_rounds=4, evolve_runs=5, steering="auto")
    own = config.competitor(config.strategies[0])
    assert (own.session, own.steering, own.rounds) == ("default.aggressive", "explore", 20)
    assert own.frozen["strategy"]["steps"] == "large"
    assert config.frozen["strategy"] is None
    alone = configured(strategy="aggressive", session="default.aggressive")
    assert alone.frozen == own.frozen


def test_agents_read_their_strategy_in_the_brief() -> None:
    def said(strategy: object) -> str:
        session = SimpleNamespace(config=SimpleNamespace(strategy=strategy))
        return strategy_words(session)

    assert said(KNOWN["radical"]).startswith("Strategy: Try bold, unconventional changes: large")
    assert said({"brief": "Go far. "}) == "Strategy: Go far"
    assert said(None) == ""


def test_a_session_remembers_what_it_was_given(tmp_path: Path) -> None:
    paths = SessionPaths("night", tmp_path)
    paths.folder.mkdir(parents=True)

    def values(given: dict, **written: object) -> dict:
        found = session_values({**DEFAULTS, **written}, given, tmp_path)
        return {key: found[key] for key in ("rounds", "task", "target")}

    task = {"repo": "~/a clone"}
    given = {"session": "night", "rounds": 5, "task": task, "target": None}
    paths.settings.write_text(given_text(paths, given, DEFAULTS))
    assert given_before(paths) == {"rounds": 5, "task": task}, "only what differs"
    assert values({"session": "night"}) == {"rounds": 5, "task": task, "target": None}
    assert values({"session": "night", "rounds": 9})["rounds"] == 9
    assert values({"session": "other"})["rounds"] == 12
    # A free key that the file has changed since counts as there; the task is frozen.
    later = values({"session": "night"}, rounds=7, task="tasks/gpt")
    assert later == {"rounds": 7, "task": task, "target": None}
    paths.settings.write_text("given: [1]\n")
    with pytest.raises(ConfigError, match=r"settings\.yaml: expected the mappings given"):
        values({"session": "night"})


def test_commands_are_spelled_as_a_shell_and_snakemake_read_them(tmp_path: Path) -> None:
    paths = SessionPaths("night-2", tmp_path)
    given = {"task": {"repo": "~/a clone", "commit": "mar8"}, "target": 0.5, "remember": ["x"]}
    command = workflow_command(paths, {**given, "python": "null", "rounds": 3})
    pairs = [word.partition("=") for word in shlex.split(command)[6:]]
    read = {key: yaml.safe_load(value) for key, _, value in pairs}
    assert read == {"session": "night-2", **given, "python": "null", "rounds": 3}
    assert shlex.split(command)[:6] == [
        *("snakemake", "--directory", str(tmp_path), "--cores", "1", "--config")
    ]
    text = f"mend it, then: {ANOTHER_SESSION} timeout_seconds=2; or {THIS_SESSION}."
    paths.folder.mkdir(parents=True)
    said = spell_commands(text, paths, {"rounds": 3})
    assert "session=night-3 rounds=3 timeout_seconds=2; or snakemake " in said
    assert said.endswith("session=night-2 rounds=3.")


def test_wrong_keys_are_told_and_everything_else_is_checked(tmp_path: Path) -> None:
    wrong = {**DEFAULTS, "rounds": 0, "bogus": 1, "budget_seconds": 1, "budget_steps": 2}
    config, faults = settle_config(wrong, REPO, "here", tmp_path)
    assert [str(fault).count("\n") for fault in faults] == [1, 0]
    assert "rounds: expected at least 1" in str(faults[0])
    assert "budget_seconds or budget_steps, and not both" in str(faults[1])
    assert config.task == DEFAULTS["task"]
    config, faults = settle_config({}, REPO, "here", tmp_path)
    assert "the key 'rounds' is missing" in str(faults[0]) and config.rounds == 1
