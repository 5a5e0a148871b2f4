"""What to try next and what to leave alone."""

import pytest

from ratchet.base.structs import replace
from ratchet.records.records import Suggestion, SuggestionKind
from ratchet.simulation.power import detectable
from ratchet.steering.bandit import BanditPull, score_categories
from ratchet.steering.suggestions import (
    Attempt,
    Knob,
    crashes,
    detectable_gain,
    exhausted,
    followed_suggestion,
    knob_of,
    near_miss_pairs,
    suggest_next,
    worthwhile_retests,
)
from ratchet.task.edits import Idea

SCORES = score_categories(
    [BanditPull("optimizer", True, 0.1)] * 3 + [BanditPull("data", False, 0.0)] * 9
)


def attempt(number: int, text: str = "", **fields: object) -> Attempt:
    base = Attempt(number, "optimizer", text or f"change {number}", kept=False)
    return replace(base, **fields)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("EMBED_DIM 16 -> 8", "embed dim", "8"),
        ("embedding LR 0.6 to 0.8 (more)", "embedding lr", "0.8"),
        ("increase batch size from 2^16 to 2^17", "batch size", "2^17"),
        ("MATRIX_LR: 0.04 → 0.05, worse", "matrix lr", "0.05"),
        ("rope base 200K to 400K", "rope base", "400k"),
        ("dropout=0.1", "dropout", "0.1"),
        ("replace relu by gelu", None, None),
        ("depth 9", None, None),
        ("", None, None),
    ],
)
def test_constants_are_read_from_descriptions(text: str, name: str, value: str) -> None:
    knob = knob_of(attempt(1, text or " "))
    assert knob == (Knob(name, value) if name else None)
    declared = attempt(1, text or " ", constant="BETA1", value="0.8")
    assert knob_of(declared) == Knob("beta1", "0.8")


def test_retests_are_the_open_cases() -> None:
    log = [
        attempt(1, confidence=0.29),
        attempt(2, confidence=0.3),
        attempt(3, confidence=0.65),
        attempt(4, confidence=0.7),
        attempt(5, confidence=0.5, kept=True),
        attempt(6, confidence=0.5, crashed=True),
        attempt(7),
    ]
    first, second = worthwhile_retests(log, 0.7, 0.001)
    assert (first.experiments, second.experiments) == ((3,), (2,))
    assert first.title == "run 'change 3' (experiment 3) again on the incumbent, with another seed"
    assert "P(better) 0.65" in first.evidence
    assert "±0.001" in first.evidence
    again = attempt(8, "Change-3", confidence=0.1)
    assert [s.experiments for s in worthwhile_retests([*log, again], 0.7, None)] == [(2,)]
    old = [attempt(1, confidence=0.6), *(attempt(n) for n in range(2, 60))]
    assert worthwhile_retests(old, 0.7, None) == [], "it met another incumbent, long ago"
    nasty = attempt(1, "a\nb\x1b[2J\u202e" + "x" * 200, confidence=0.5)
    (found,) = worthwhile_retests([nasty], 0.7, None)
    assert found.title.isprintable()
    assert len(found.title) < 140


def test_near_misses_are_combined_unless_they_set_the_same_constant() -> None:
    log = [
        attempt(1, "beta2 0.9 to 0.95", confidence=0.6, gain=0.002),
        attempt(2, "beta2 0.9 to 0.99", confidence=0.55, gain=0.001),
        attempt(3, "clip at 1", confidence=0.52, gain=0.0005),
        attempt(4, "tail", confidence=0.49, gain=0.1),
    ]
    found = near_miss_pairs(log)
    assert [s.experiments for s in found] == [(1, 3), (2, 3)]
    assert "0.0025 is expected" in found[0].evidence


def test_crashes_tell_their_memory() -> None:
    log = [
        attempt(1, memory_gb=60.2),
        attempt(2, "depth 30 (OOM)", crashed=True),
        attempt(3, "depth 20", crashed=True, memory_gb=79.5),
        attempt(4, "typo", crashed=True),
        attempt(5, "typo", crashed=True),
        attempt(
            6, "rate x9", crashed=True, memory_gb=9.0, diverged="training loss nan from step 9"
        ),
        attempt(7, "rate x8", diverged="x" * 99),
        attempt(8, "rate x7 (NaN)", crashed=True),
    ]
    assert [note.text for note in crashes(log)] == [
        "'rate x7 (NaN)' (experiment 8) diverged: try it lower, or with a warm-up",
        f"'rate x8' (experiment 7) diverged ({'x' * 59}…): try it lower, or with a warm-up",
        "'rate x9' (experiment 6) diverged (training loss nan from step 9): try it lower, or with "
        "a warm-up",
        "'typo' (experiment 5) crashed",
        "'depth 20' (experiment 3) crashed at 79.5 GiB; the largest that ran took 60.2 GiB",
        "'depth 30 (OOM)' (experiment 2) crashed; the largest that ran took 60.2 GiB",
    ]


def test_a_constant_is_used_up_after_three_discards_in_a_row() -> None:
    log = [attempt(n, f"softcap 15 to {n}") for n in (1, 2)]
    assert exhausted(log) == []
    third = attempt(3, "softcap 15 to 3", confidence=0.5)
    (note,) = exhausted([*log, third])
    assert note.text == "softcap: the last 3 tries (1, 2, 3) were all discarded"
    assert exhausted([*log, replace(third, kept=True)]) == []
    assert worthwhile_retests([*log, third], 0.7, None) == []
    # A declared one when each value was tried.
    log = [attempt(n, constant="BETA1", value=str(n)) for n in (1, 2)]
    assert exhausted(log, {"BETA1": ["1", "2", "3"]}) == []
    (note,) = exhausted(log, {"BETA1": ["1", "2"]})
    assert note.text == "BETA1: every declared value was tried (1, 2)"
    assert note.experiments == (1, 2)


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_smallest_effect_that_shows(seeds: int) -> None:
    expected = detectable(seeds, 0.05, 0.8, known=True)
    assert detectable_gain(2.0, seeds) == pytest.approx(2 * (expected or 0.0), rel=1e-9)


def test_a_declared_space_gives_the_exact_edit() -> None:
    short = Idea("optimizer", "BETA2 0.999 -> 0.95", "Short memory.", {})
    options = [short, Idea("data", "x", "", {})]
    found = suggest_next([], ("optimizer", "activation", "data"), SCORES, 5, options=options)
    assert [(s.kind, s.title) for s in found] == [
        (SuggestionKind.EDIT, "BETA2 0.999 -> 0.95"),
        (SuggestionKind.EDIT, "x"),
    ]
    assert found[0].evidence.startswith("Short memory. 3 of 3 were kept")
    # Where code is free beside declared edits, the other categories get angles.
    ranking = ("optimizer", "activation", "data")
    free = suggest_next([], ranking, SCORES, 5, options=options, free=True)
    kinds = [SuggestionKind.EDIT, SuggestionKind.ANGLE, SuggestionKind.EDIT]
    assert [s.kind for s in free] == kinds


def test_free_code_gets_angles_with_evidence() -> None:
    log = [attempt(n, "beta2 0.9 to 0.95", kept=True) for n in (1, 2)] + [
        attempt(3, "Nesterov momentum", kept=True)
    ]
    (first,) = suggest_next(log, ("optimizer",), SCORES, 1)
    assert first.kind is SuggestionKind.ANGLE
    assert first.angles[0] == "gradient clipping"
    assert first.experiments == (1, 2, 3)
    assert "experiment 1, 2, 3" in first.evidence


def test_where_all_angles_were_tried_success_is_taken_further() -> None:
    texts = ["momentum", "beta2", "clip", "ns_steps", "eps", "ema", "lion"]
    log = [attempt(n, text) for n, text in enumerate(texts, 1)]
    log.append(attempt(9, "adam eps 1e-8 to 1e-10", kept=True))
    (first, *_) = suggest_next(log, ("optimizer",), SCORES, 1)
    assert first.angles == ("adam eps beyond 1e-10 (experiment 9)",)
    assert suggest_next(log[:-1], ("optimizer",), SCORES, 3) == []


def test_new_and_known_take_turns() -> None:
    log = [attempt(1, "a", confidence=0.6), attempt(2, "b", confidence=0.55)]
    kinds = [s.kind for s in suggest_next(log, ("optimizer", "data", "embedding"), SCORES, 6)]
    assert kinds == ["angle", "retest", "angle", "combine", "angle", "retest"]
    assert len(suggest_next(log, ("optimizer",), SCORES, 2)) == 2


def test_a_suggestion_is_taken_up_to_the_letter_or_in_kind() -> None:
    given = [
        Suggestion(SuggestionKind.RETEST, "data", "run again", ""),
        Suggestion(SuggestionKind.ANGLE, "optimizer", "optimizer variations: x", ""),
        Suggestion(SuggestionKind.EDIT, "optimizer", "BETA2 0.999 -> 0.95", ""),
    ]
    assert followed_suggestion(given, "optimizer", "beta2 0.999 -> 0.95") == (3, True)
    assert followed_suggestion(given, "optimizer", "momentum") == (2, False)
    assert followed_suggestion(given, "data", "run again") is None
