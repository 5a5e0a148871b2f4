"""The configuration: one schema, one file, one page, and they agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from helpers import REPO
from ratchet.base.errors import ConfigError
from ratchet.base.schema import schema_of, schema_text
from ratchet.config import (
    FROZEN_KEYS,
    JUDGE_KEYS,
    LIMIT_KEYS,
    Config,
    parse_config,
    read_config,
    resolve_task_folder,
)

FOLDER = REPO / "config"
SCHEMA = FOLDER / "schema.yaml"
DEFAULTS = read_config(FOLDER / "config.yaml")


def documented() -> dict[str, tuple[str, str]]:
    rows = re.findall(r"^\| `(\w+)` \| `(.*?)` \| (yes)? ?\| .+ \|$", page(), re.M)
    return {name: (default, frozen) for name, default, frozen in rows}


def page() -> str:
    return (FOLDER / "README.md").read_text()


def test_file_page_and_code_list_the_same_keys() -> None:
    assert set(DEFAULTS) == set(documented()) == set(Config.__struct_fields__)


def test_the_schema_is_made_from_the_types() -> None:
    made = schema_text(schema_of(Config, "config/config.yaml"))
    assert SCHEMA.read_text() == made, "make it again with: python -m ratchet.config"


def test_the_page_states_the_defaults_and_what_is_frozen() -> None:
    for name, (default, frozen) in documented().items():
        assert yaml.safe_load(default) == DEFAULTS[name], name
        assert bool(frozen) == (name in FROZEN_KEYS), name
    assert set(LIMIT_KEYS) <= set(DEFAULTS)


def test_the_defaults_are_valid() -> None:
    config = parse_config(DEFAULTS, SCHEMA, "config.yaml")
    assert config.session == "default"
    assert config.frozen["task"] == "tasks/bytelm"


WRONG = [
    ({"rounds": 0}, "rounds: expected at least 1, found 0"),
    ({"rounds": 2.5}, "rounds: expected a whole number, found 2.5"),
    ({"rounds": True}, "rounds: expected a whole number, found True"),
    ({"deadline_hours": 0}, "deadline_hours: expected more than 0, found 0"),
    ({"target": "low"}, "target: expected a number or null, found 'low'"),
    ({"steering": "wild"}, "steering: expected one of auto, explore, exploit"),
    ({"baseline_replicates": 1}, "at least 2"),
    ({"roundz": 1}, "unknown key 'roundz'; did you mean 'rounds'?"),
    ({"zzz": 1}, "unknown key 'zzz'; known are agent_command"),
    ({"session": "a..b"}, "session: expected a name"),
    ({"session": "a.lock"}, "session: expected a name"),
    ({"session": ".a"}, "session: expected a name"),
    ({"session": "a\nb"}, "session: expected a name"),
    ({"max_runs": 13}, "max_runs: expected at least 14"),
    ({"budget_steps": 1, "budget_seconds": 1}, "not both"),
    ({"line_price": -1}, "line_price: expected at least 0, found -1"),
    ({"memory_price": "free"}, "memory_price: expected a number or null, found 'free'"),
    ({"remeasure_every": 0.5}, "remeasure_every: expected a whole number, found 0.5"),
    ({"proposer": "hal"}, "proposer: expected one of declared, hand, claude, codex, gemini"),
    ({"proposer": "custom"}, "agent_command: expected the words of the agent's command"),
    ({"agent_command": "codex exec"}, "agent_command: expected a list or null"),
    ({"agent_command": ["sh", 3]}, "agent_command.1: expected text, found 3"),
    ({"agent_minutes": 0}, "agent_minutes: expected more than 0"),
    ({"proposer": "gemini", "agent_dollars": 1}, "gemini does not report what it costs"),
    ({"mode": "sure"}, "mode: expected one of auto, gain, balanced, strict, guaranteed"),
    ({"mode": "guaranteed", "max_replicates": 2}, "max_replicates: expected at least 3"),
    ({"mode": "guaranteed", "max_runs": 17}, "max_runs: expected at least 18"),
    ({"remeasure_every": 5, "max_runs": 14}, "max_runs: expected at least 15"),
]


@pytest.mark.parametrize(("change", "words"), WRONG)
def test_mistakes_are_named(change: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        parse_config({**DEFAULTS, **change}, SCHEMA, "config.yaml")


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({**DEFAULTS, "rounds": -1, "seed": "x", "bad": 1}, SCHEMA, "config.yaml")
    assert len(str(caught.value).splitlines()) == 3


def test_tokens_change_with_the_limits_alone() -> None:
    base = parse_config(DEFAULTS, SCHEMA, "c")
    assert base.limits_token == parse_config({**DEFAULTS, "rounds": 99}, SCHEMA, "c").limits_token
    for key, value in (
        ("leg", 2),
        ("target", 0.1),
        ("deadline_hours", 1),
        ("max_runs", 99),
        ("proposer", "codex"),
    ):
        assert parse_config({**DEFAULTS, key: value}, SCHEMA, "c").limits_token != base.limits_token


def test_a_round_reserves_what_it_may_need() -> None:
    def reserved(**change: object) -> int:
        return parse_config({**DEFAULTS, **change}, SCHEMA, "c").reserved_runs

    assert reserved() == 4 + 6
    assert reserved(candidates=3) == 12 + 6
    assert reserved(remeasure_every=2) == reserved() + 1
    assert reserved(mode="guaranteed", candidates=3) == reserved(candidates=3) + 1 + 3


def test_an_experiments_job_has_time_for_all_its_runs() -> None:
    def runs(**change: object) -> int:
        return parse_config({**DEFAULTS, **change}, SCHEMA, "c").experiment_runs

    assert runs() == runs(candidates=3) == 5
    assert runs(max_replicates=1) == 2
    assert runs(remeasure_every=2, mode="guaranteed") == 5 + 1 + 4


def test_auto_is_what_it_was_at_the_start() -> None:
    config = parse_config(DEFAULTS, SCHEMA, "c")
    assert config.settled("guaranteed").mode == "guaranteed"
    assert (
        parse_config({**DEFAULTS, "mode": "strict"}, SCHEMA, "c").settled("gain").mode == "strict"
    )


def test_what_a_verdict_depends_on_may_change_at_any_time() -> None:
    assert set(JUDGE_KEYS) <= set(DEFAULTS)
    assert not set(JUDGE_KEYS) & {*FROZEN_KEYS, *LIMIT_KEYS}


def test_a_task_is_looked_for_here_and_then_beside_the_snakefile(tmp_path: Path) -> None:
    here, harness = tmp_path / "here", tmp_path / "harness"
    (harness / "tasks" / "a").mkdir(parents=True)
    assert resolve_task_folder("tasks/a", here, harness) == harness / "tasks/a"
    (here / "tasks" / "a").mkdir(parents=True)
    assert resolve_task_folder("tasks/a", here, harness) == here / "tasks/a"
    assert resolve_task_folder("/abs/a", here, harness) == Path("/abs/a")
