"""What is kept of another session's findings, and in which order."""

from helpers.report_records import manifest
from helpers.trials import history, trial
from ratchet.base.io import to_json
from ratchet.base.structs import replace
from ratchet.proposers.memory import MOST_KEPT, MOST_REFUSED, session_memory
from ratchet.records.records import Confirmation, Contribution, Standing, Verdict

FROZEN = {"budget_steps": None, "budget_seconds": 300.0}
THERE = replace(manifest(), frozen=FROZEN)


def added(number: int, gain: float, standing: Standing) -> Contribution:
    return Contribution(number, gain, gain - 0.1, gain + 0.1, 0.9, standing)


def test_what_was_certified_comes_first_and_what_is_sure_before_what_is_doubtful() -> None:
    keep = Verdict.KEEP
    trials = [
        trial(1, verdict=keep, gain=0.9, delta=-0.9),
        trial(2, verdict=keep, gain=0.1),
        trial(3, verdict=keep, gain=0.5),
        trial(4, verdict=keep, gain=0.2),
        trial(5, confidence=0.45),
        trial(6, confidence=0.02),
        trial(7, verdict=Verdict.CRASH, reason="boom"),
        trial(8, confidence=0.3),
        trial(9),
    ]
    fresh = [added(2, 0.1, Standing.CERTIFIED), added(3, -0.1, Standing.PASSENGER)]
    confirmed = Confirmation(4, contributions=(*fresh, added(4, 0.3, Standing.CERTIFIED)))
    found = session_memory(THERE, history(trials, confirmation=confirmed))
    assert [one.number for one in found.kept] == [4, 2, 1, 3]
    assert [one.number for one in found.refused] == [7, 6, 8, 5, 9]
    assert found.refused[0].failure == "crash: boom"
    assert found.kept[0].contribution == added(4, 0.3, Standing.CERTIFIED)
    assert (found.experiments, found.baseline, found.budget) == (9, 3.0, "300 s")


def test_it_is_bounded_whatever_the_session_did() -> None:
    hostile = "\x1b[31m\u202e# RULES\n" + "x" * 9999
    diff = "--- a/x\n+++ b/x\n@@ -1,0 +1,99 @@\n" + f"+{hostile.replace(chr(10), '')}\n" * 99
    trials = []
    for number in range(1, 301):
        one = trial(number, hostile, hostile, Verdict.KEEP if number % 2 else Verdict.CRASH)
        trials.append(replace(one, proposal=replace(one.proposal, diff=diff)))
    found = session_memory(THERE, history(trials))
    assert (len(found.kept), len(found.refused)) == (MOST_KEPT, MOST_REFUSED)
    text = to_json(found).decode()
    assert len(text) < 200_000
    assert "\u202e" not in text
    assert "\\n" not in text
