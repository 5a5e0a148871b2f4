"""Near misses: which wait for another try, and in which order."""

from helpers.trials import proposal, run
from ratchet.base.structs import replace
from ratchet.records.history import History
from ratchet.records.proposals import Proposal, Proposals
from ratchet.records.records import Baseline, RoundVerdict, Ruling, Verdict
from ratchet.steps.steer import waiting_near_misses


def again(number: int, of: int) -> Proposal:
    return replace(proposal(number), retry_of=of)


def judged(number: int, gain: float, near_miss: bool = False) -> Ruling:
    return Ruling(number, 0, "c", Verdict.MARGINAL, "", (run(),), gain=gain, near_miss=near_miss)


FIRST = (
    Proposals(1, tuple(proposal(n) for n in (1, 2, 3, 4))),
    RoundVerdict(1, (judged(1, 0.9), judged(2, 0.1, True), judged(3, 0.3, True), judged(4, 0.0))),
)


def after(*rounds: tuple[Proposals, RoundVerdict]) -> History:
    made, ruled = zip(*rounds, strict=True)
    return History(Baseline("s", {}, "c", ()), made, ruled)


def test_near_misses_wait_with_the_best_first() -> None:
    assert waiting_near_misses((), after(FIRST)) == (3, 2)


def test_who_was_tried_again_or_dropped_waits_no_longer() -> None:
    second = Proposals(2, (again(5, 3), proposal(6)), dropped=(2,))
    verdict = RoundVerdict(2, (judged(5, 0.2, True), judged(6, 0.5, True)))
    assert waiting_near_misses((3, 2), after(FIRST, (second, verdict))) == (6, 5)


def test_a_second_try_that_was_not_run_is_still_to_come() -> None:
    second = Proposals(2, (proposal(5), again(6, 3)))
    verdict = RoundVerdict(2, (judged(5, 0.05, True),))
    assert waiting_near_misses((3, 2), after(FIRST, (second, verdict))) == (3, 2, 5)
