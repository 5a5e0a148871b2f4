"""The brief for the next experiment, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from helpers.trials import history, trial
from ratchet.base.structs import replace
from ratchet.proposers.prompts import ROWS, Brief, render_brief, table_cell
from ratchet.records.history import Trial
from ratchet.records.records import Incumbent, Suggestion, SuggestionKind, Verdict
from ratchet.steering.bandit import BanditPull, score_categories

HELD = Incumbent(2, "s", {}, "c", mean=0.9741, sd=0.0004, memory_mb=None, kept=1)
THREE = [trial(number, mean=0.98) for number in (1, 2, 3)]


def brief(trials: Sequence[Trial] = THREE, **fields: object) -> Brief:
    """A brief after these trials; a state's fields are given by name too."""
    own = {name: fields.pop(name) for name in ("scores", "avoid") if name in fields}
    state = {"incumbent": HELD, "noise_sd": 0.0005, **fields}
    past = history(trials, baseline=(0.9979,))
    states = (*past.states[:-1], replace(past.state, **state))
    return Brief(
        history=replace(past, states=states),
        goal="val_bpb (bits per byte), lower is better",
        budget="300 s of training",
        keep_probability=0.7,
        **own,
    )


def test_it_says_where_the_session_stands() -> None:
    text = render_brief(brief())
    assert text.startswith("# Brief for round 4\n\n## Where the session stands\n\n- Goal: val_bpb")
    assert "Incumbent: experiment 2, believed to be at 0.9741 ± 0.0004 (baseline 0.9979" in text
    assert "one run shows improvements from 0.0018, three runs from 0.001." in text
    assert "A keep needs P(better) of 0.7" in text
    assert "Incumbent: the baseline, believed" in render_brief(
        brief(incumbent=replace(HELD, number=0))
    )
    assert "Noise floor" not in render_brief(brief(noise_sd=None))


def test_what_the_judge_repeats_is_not_to_be_proposed_again() -> None:
    new = Suggestion(SuggestionKind.ANGLE, "data", "data variations: order", "1 of 2 were kept.")
    undecided = Suggestion(SuggestionKind.RETEST, "data", "run 'x' again", "P(better) 0.50.", (3,))
    text = render_brief(brief(suggestions=(undecided, new), avoid=("'y' crashed",)))
    first, second = text.split("## Leave alone")
    assert "1. [data] Data variations: order. 1 of 2 were kept." in first
    assert "again" not in first.split("Suggested next")[1]
    assert "- 'y' crashed\n- Experiment 3 is undecided; P(better) 0.50. Do not repeat" in second


def test_without_suggestions_it_says_so() -> None:
    assert "Nothing in particular" in render_brief(brief())
    assert "Leave alone" not in render_brief(brief())


def test_the_table_lists_the_latest_and_counts_the_rest() -> None:
    tried = [
        trial(n, "data", f"idea {n}", delta=0.001, confidence=0.25) for n in range(1, ROWS + 3)
    ]
    text = render_brief(brief([*tried, trial(99, "data", "boom", Verdict.CRASH)]))
    assert "| 62 | DISCARD | +0.001 | 0.25 | data | idea 62 |" in text
    assert "| 99 | CRASH | – | – | data | boom |" in text
    assert "| idea 3 |" not in text
    assert text.endswith("3 earlier ones are not listed.\n")


def test_the_record_by_category_leaves_out_what_was_not_tried() -> None:
    scores = score_categories([BanditPull("optimizer", True, 0.1)] * 6)
    text = render_brief(brief(scores=scores))
    assert "| optimizer | 6 | 6 | " in text
    assert "| data |" not in text


@given(st.text(max_size=300))
def test_no_description_breaks_out_of_its_cell(text: str) -> None:
    found = table_cell(text)
    assert "\n" not in found
    plain = found.replace("\\\\", "").replace("\\|", "").replace("\\`", "")
    assert "|" not in plain
    assert "`" not in plain
    row = render_brief(brief([trial(1, "data", text, Verdict.KEEP)])).splitlines()[-1]
    assert row.startswith("| 1 | KEPT | – | – | data | ")
