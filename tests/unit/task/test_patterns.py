"""Numbers found in logs by a task's patterns."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.task.task import LONGEST_PATTERN, pattern_fault, pattern_literal, search_patterns

ACCURACY = "Validation accuracy: ([0-9.]+)"


@pytest.mark.parametrize(
    "pattern",
    [
        ACCURACY,
        r"(?i)acc(?:uracy)?[:=]\s*([\d.]+)%?",
        r"^FINAL: mAP50=([\d.]+), mAP50-95=[\d.]+$",
        r"epoch \d{1,4}/\d+ .* loss[:=]\s*(\S+)",
        r"^val_pass:\s+(true|false)$",
    ],
)
def test_what_people_write_is_accepted(pattern: str) -> None:
    assert pattern_fault(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("accuracy", "expected exactly one group"),
        ("(a)(b)", "found 2"),
        ("acc: (", "expected a regular expression"),
        ("acc: ([0-9.]+)" + "x" * LONGEST_PATTERN, "characters"),
        (r"(a+)\1", "expected a regular expression of RE2"),
        ("(?=(a+)+b)", "expected a regular expression of RE2"),
        (r"\pN: (\d+)", "expected a regular expression"),
    ],
)
def test_what_cannot_be_used_is_refused(pattern: str, words: str) -> None:
    found = pattern_fault(pattern)
    assert found is not None
    assert words in found


def test_the_last_match_counts_whatever_surrounds_it() -> None:
    log = (
        "Validation accuracy: 0.5\n"
        "\x1b[32mstep 1\rValidation accuracy: 0.6 Validation accuracy: 0.7\r\n"
        "Validation accuracy: ......\n"
        "val_pass:   true\nloss 12,345.5\nshare 82.5%\nnot a number: nan\n"
    )
    patterns = {
        "acc": ACCURACY,
        "pass": r"^val_pass:\s+(true|false)$",
        "loss": r"loss (\S+)",
        "share": r"share (\S+)",
        "odd": r"number: (\w+)",
        "none": r"never (\d)",
    }
    found = search_patterns(log, patterns)
    assert math.isnan(found.pop("odd"))
    assert found == {"acc": 0.7, "pass": 1.0, "loss": 12345.5, "share": 82.5}


@given(st.floats(0, 1), st.lists(st.text(max_size=30), max_size=5))
def test_any_number_is_found_among_any_text(value: float, noise: list[str]) -> None:
    lines = [line.replace("Validation", "") for line in noise]
    log = "\n".join([*lines, f"Validation accuracy: {value:.6f}", *lines])
    assert search_patterns(log, {"acc": ACCURACY}) == {"acc": float(f"{value:.6f}")}


def test_words_that_every_match_holds() -> None:
    assert pattern_literal(ACCURACY) == "Validation accuracy:"
    assert pattern_literal(r"(\d+) parameters of \d+") == "parameters of"
    assert pattern_literal(r"a: (\d+)") == ""


@pytest.mark.parametrize("pattern", ["(?:a|a)*(b)", "([0-9a]+)+$", "(?:.*a){20}(b)", "(a?){99}b"])
def test_no_log_keeps_a_search_busy(pattern: str) -> None:
    assert pattern_fault(pattern) is None
    began = time.process_time()
    search_patterns(("a" * 4000 + "\n") * 260, {"x": pattern})
    assert time.process_time() - began < 10


def test_characters_of_other_scripts_and_broken_ones_are_text() -> None:
    log = "ünï\0code \x1b[31macc=0.5\x1b[0m\ud800 acc=0.25ü\n"
    assert search_patterns(log, {"acc": r"acc=([\d.]+)", "all": r"(0\.25ü)"}) == {"acc": 0.25}
    assert search_patterns(log, {}) == {}
