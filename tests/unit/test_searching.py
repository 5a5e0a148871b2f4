"""Logs are searched in a process that can be stopped."""

from __future__ import annotations

import time

import pytest

from ratchet import searching


def test_the_answer_is_the_patterns() -> None:
    log = "ünï\0code \x1b[31macc=0.5\x1b[0m\nacc=0.25\n"
    assert searching.numbers(log, {"acc": r"acc=([\d.]+)"}) == {"acc": 0.25}
    assert searching.numbers(log, {}) == {}
    assert searching.numbers("", {"acc": r"acc=([\d.]+)"}) == {}


def test_a_log_that_takes_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "LIMIT_SECONDS", 0.5)
    began = time.monotonic()
    # Such a pattern is refused when a task is read; what gets by is bounded here.
    assert searching.numbers("a" * 4000, {"x": r"(?:a|a)*(b)"}) is None
    assert time.monotonic() - began < 60
