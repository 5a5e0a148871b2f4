"""Strategies are data: read, checked, chosen, and put in the configuration."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers import REPO
from ratchet.base.errors import ConfigError
from ratchet.config import (
    STRATEGIES_FILE,
    STRATEGIES_SCHEMA,
    Config,
    Strategy,
    choose_strategies,
    known_strategies,
    parse_config,
    read_config,
    read_strategies,
)
from ratchet.proposers.prompts import strategy_words

FOLDER = REPO / "config"
SCHEMA = FOLDER / STRATEGIES_SCHEMA
KNOWN = read_strategies(FOLDER / STRATEGIES_FILE, SCHEMA)
SIX = ("architecture", "hyperparams", "optimizer", "regularization", "efficiency")


def configured(**change: object) -> Config:
    values = {**read_config(FOLDER / "config.yaml"), **change}
    return parse_config(values, FOLDER / "schema.yaml", "config.yaml")


def test_the_strategies_of_the_article_and_of_the_released_tool_are_there() -> None:
    assert list(KNOWN)[:3] == ["conservative", "aggressive", "random"]
    assert {f"{name}-first" for name in SIX} | {"radical"} <= set(KNOWN)
    for name in SIX:
        assert Strategy.of(KNOWN[f"{name}-first"]).first[0] == name
    assert Strategy.of(KNOWN["random"]).order == "random"
    assert (KNOWN["conservative"]["steps"], KNOWN["aggressive"]["steps"]) == ("small", "large")


WRONG = [
    ("mine: {}", "mine: the key 'brief' is missing"),
    ("mine: {brief: x, stepz: small}", "unknown key 'stepz'; did you mean 'steps'?"),
    ("mine: {brief: x, steps: tiny}", "mine.steps: expected one of declared, small, large"),
    ("'a b': {brief: x}", "a b"),
    ("'12': {brief: x}", "expected a name with a letter in it"),
]


@pytest.mark.parametrize(("text", "words"), WRONG, ids=[words for _, words in WRONG])
def test_mistakes_are_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / STRATEGIES_FILE
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"strategies\.yaml") as caught:
        read_strategies(path, SCHEMA)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("names", "session", "words"),
    [
        (["agressive"], "s", "did you mean 'aggressive'?"),
        (["zzz"], "s", "known are conservative, aggressive"),
        (["random", "random"], "s", "stands there twice"),
        (["random"], "s" * 60, "at most 64 characters"),
    ],
)
def test_a_wrong_choice_is_named(names: list[str], session: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_strategies(names, KNOWN, session, "c")
    assert words in str(caught.value)


def test_what_a_user_adds_comes_before_what_is_shipped(tmp_path: Path) -> None:
    (tmp_path / STRATEGIES_FILE).write_text("mine: {brief: x}\nrandom: {brief: less so}")
    known = known_strategies(FOLDER, tmp_path)
    assert set(known) == {*KNOWN, "mine"}
    assert known["random"]["order"] == "ranked"
    assert known_strategies(FOLDER, tmp_path / "none") == known_strategies(FOLDER, None) == KNOWN


def test_competitors_are_sessions_of_their_own_with_what_their_strategy_names() -> None:
    config = configured(strategies=["aggressive"], evolve_rounds=4, evolve_runs=5, steering="auto")
    own = config.competitor(config.strategies[0])
    assert (own.session, own.steering, own.rounds) == ("default.aggressive", "explore", 20)
    assert own.frozen["strategy"]["steps"] == "large"
    assert config.frozen["strategy"] is None
    alone = configured(strategy="aggressive", session="default.aggressive")
    assert alone.frozen == own.frozen


def test_an_agent_of_a_strategy_is_checked_when_the_configuration_is(tmp_path: Path) -> None:
    text = "mine: {brief: x, proposer: custom}"
    (tmp_path / STRATEGIES_FILE).write_text(text)
    values = {**read_config(FOLDER / "config.yaml"), "strategies": ["mine"]}
    with pytest.raises(ConfigError, match="strategy mine: agent_command"):
        parse_config(values, FOLDER / "schema.yaml", "c", tmp_path)


def test_agents_read_their_strategy_in_the_brief() -> None:
    def said(strategy: object) -> str:
        session = SimpleNamespace(config=SimpleNamespace(strategy=strategy))
        return strategy_words(session)  # type: ignore[arg-type]

    assert said(KNOWN["radical"]).startswith("Strategy: Try bold, unconventional changes: large")
    assert said({"brief": "Go far. "}) == "Strategy: Go far"
    assert said(None) == ""
