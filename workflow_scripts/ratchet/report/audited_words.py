"""What an audit's page says in words: the answer, and how to read the rest."""

from __future__ import annotations

from ratchet.audit import CHANCE, CREDIBLE, MOST_SEEDS, OVERTURNED
from ratchet.report.inputs import Facts
from ratchet.report.text import number, plural
from ratchet.reruns import LEVEL as RERUN_LEVEL
from ratchet.smoothing import LEVEL


def answer(facts: Facts) -> Facts:
    """The audit in one sentence; ``kind``, ``headline`` and ``rest``."""
    count, decimals = len(facts["changes"]), facts["metric"]["decimals"]
    if not count:
        headline = "Nothing was kept after the baseline"
        return {"kind": "none", "headline": headline, "rest": "There is nothing to audit."}
    expected = (
        f"by the whole log {facts['expected_true']:.1f} of {plural(count, 'kept change')} are "
        f"better ({facts['least_true']} to {facts['most_true']}) and "
        f"{facts['expected_false_keeps']:.1f} are false keeps"
    )
    gain = (
        f"gain {_show(facts, 'total')} ({_show(facts, 'total_low')} to "
        f"{_show(facts, 'total_high')}), printed {_show(facts, 'printed')}"
    )
    floor = f"noise floor ± {number(facts['noise']['sd'], decimals)}, {facts['noise']['source']}"
    reruns = facts["reruns"]
    if reruns is None:
        headline = f"{facts['expected_false_keeps']:.1f} of {plural(count, 'kept change')} are "
        return {
            "kind": "log",
            "headline": headline + "expected to be no improvement",
            "rest": f"{expected.capitalize()}; {gain}; {floor}. Nothing was run again.",
        }
    counts = reruns["counts"]
    kind = "holds"
    if counts["does not hold"] or counts["not run"]:
        kind = "fails"
    elif counts["undecided"]:
        kind = "undecided"
    rest = (
        f"Run again here, {plural(reruns['runs'], 'run')} of {reruns['task']}; {expected}; {gain}."
    )
    return {"kind": kind, "headline": reruns["sentence"], "rest": rest}


def _show(facts: Facts, key: str) -> str:
    return number(facts[key], facts["metric"]["decimals"], signed=True)


def method(facts: Facts) -> list[dict[str, str]]:
    """How to read the page and what it cannot say; ``term`` and ``text``."""
    between = f"{100 * LEVEL:.0f} %"
    entries = {
        "P(better)": (
            "The probability that a change truly improves the metric. When it was kept: by the "
            "rows up to it. By the whole log: also by what came after it, since later candidates "
            "are compared with the code that it left. A change that was lucky looks worse then."
        ),
        "Gain": (
            f"What the judge believes of the improvement, with its {between} interval; the short "
            "upright stroke is what the log printed, the incumbent's value less its own. Positive "
            "is better. Printed values were selected for being low, or high, so they flatter."
        ),
        "Seeds": (
            "The smallest number of further runs, of the change and of its incumbent each, after "
            f"which P(better) is at least {CREDIBLE:g} or below {OVERTURNED:g} with probability "
            f"{CHANCE:g}. None is named where that is so already, or where {MOST_SEEDS} are too "
            "few."
        ),
        "Noise": (
            "Two runs of the same code with different seeds differ; the noise floor is the "
            f"standard deviation of that. Here it is {facts['noise']['source']}. If it is wrong, "
            "so is all that rests on the log."
        ),
        "Limits": (
            "The log is taken at its word: nobody checked that its rows are of the code, the data "
            "and the budget that they claim. Noise is taken as normal and alike for all changes."
        ),
    }
    if facts["reruns"] is not None:
        entries |= {
            "Run again": (
                "The task's mutable files are taken from the row's commit and from that of the "
                "incumbent of its time, the row that was kept before it, and nothing else; all "
                "other files, the data and the command are the task's. Every code gets one run "
                "per turn, in turn, with the same seed for all in a turn, and one that is a side "
                "of several changes is run once for all of them."
            ),
            "Holds": (
                "Only the fresh runs of the two sides decide, as a judge sees them that knows "
                "neither the log nor that the change was kept; the noise floor is also learned "
                f"from the other codes' runs here. Holds: P(better) of at least {CREDIBLE:g}. Does "
                f"not hold: below {OVERTURNED:g}. The gain is the difference of the means with "
                f"Welch's {100 * RERUN_LEVEL:.0f} % interval; what could not be run does not count "
                "as holding. An improvement of one or two noise sds mostly needs more than three "
                "seeds to show, and with few looks like none."
            ),
            "Another machine": (
                "The log's values were measured elsewhere, perhaps with another budget. They "
                "stand beside the fresh runs and are not mixed with them. That a change does not "
                "hold here does not say that it did not help there."
            ),
        }
    return [{"term": term, "text": words} for term, words in entries.items()]
