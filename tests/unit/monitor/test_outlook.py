"""How long a session takes, and what the deadline leaves time for."""

from dataclasses import dataclass, field
from random import Random

import pytest

from helpers import REPO
from ratchet.base.structs import replace
from ratchet.cli.sessions import read_settings
from ratchet.monitor.outlook import (
    HARNESS_SECONDS,
    Closing,
    Done,
    Outlook,
    Pace,
    Shape,
    Timing,
    session_outlook,
)

NIGHT = replace(
    read_settings(REPO),
    rounds=100,
    mode="gain",
    confirm_replicates=3,
    deadline_hours=12.0,
    certify=True,
    max_runs=None,
)
SHAPES = [Shape(0.0, 3), Shape(0.02, 9), Shape(0.04, 20)]
EVEN = Timing(299.0, 299.0, 0.0, 0.0, "seen", 9)


def outlook(hours: float = 99.0, beside: int = 1, **settings: object) -> Outlook:
    config = replace(NIGHT, **settings)
    return session_outlook(config, SHAPES, EVEN, 3600 * hours, side_by_side=beside)


def part(found: Outlook, name: str) -> tuple[float, float, float]:
    (runs,) = (each.runs for each in found.parts if each.name == name)
    return runs.low, runs.middle, runs.high


def test_each_part_has_its_runs() -> None:
    found = outlook()
    assert part(found, "baseline") == (1, 1, 1)
    assert part(found, "experiments") == (100, 100, 100)
    assert part(found, "retests") == (0, 2, 4)
    # A fifth of the runs, and one of the smaller champion.
    assert part(found, "certification") == (22, 22, 22)
    assert part(found, "confirmation") == (6, 6, 6)
    assert found.seconds is not None
    assert found.runs.middle == 131
    assert found.seconds.middle == pytest.approx(131 * 300 + 20)
    assert [end.limit for end in found.ends] == ["rounds"]


def test_nothing_kept_is_nothing_to_certify_or_confirm() -> None:
    found = session_outlook(NIGHT, [Shape(0.0, 0)], EVEN, 1e6)
    assert found.runs.middle == 101
    one = session_outlook(NIGHT, [Shape(0.0, 1)], EVEN, 1e6)
    assert one.runs.middle == 101 + 6


def test_trainings_side_by_side() -> None:
    alone, beside = outlook(candidates=8), outlook(candidates=8, beside=8)
    assert alone.seconds and beside.seconds
    assert alone.runs == beside.runs
    # 100 rounds at once, 13 and 1 turns of the certification, 1 pair, the baseline.
    assert beside.seconds.low == pytest.approx(300 * (100 + 13 + 1 + 2 + 1) + 20, rel=0.01)


def test_what_ends_it() -> None:
    short = outlook(hours=6.0)
    assert short.cut_short and short.seconds and short.seconds.high <= 6 * 3600
    assert 0 < short.ends[0].rounds < 60
    few = outlook(max_runs=60)
    assert few.ends[0].limit == "max_runs" and few.runs.high <= 60


def test_what_is_left_of_a_session() -> None:
    done = Done(baseline=1, rounds=90, kept=4, used=95, further=4)
    found = session_outlook(NIGHT, SHAPES, EVEN, 1e6, done=done)
    assert part(found, "baseline") == (0, 0, 0)
    assert part(found, "experiments") == (10, 10, 10)
    closing = replace(done, rounds=100, ended=True, certification=5, confirmation=2)
    left = session_outlook(NIGHT, SHAPES, EVEN, 1e6, done=closing)
    assert part(left, "experiments") == (0, 0, 0)
    assert part(left, "confirmation") == (4, 4, 4)
    assert left.runs.high < found.runs.low


def test_new_code_is_told_apart_where_it_compiles() -> None:
    found = Timing.of_runs([480.0, 482.0, 479.0], [322.0, 323.0, 321.0, 322.0], "here", 300.0)
    assert found is not None and (found.new, found.again) == (480.0, 322.0)
    assert "new code 480 s, code that ran before 322 s" in found.source
    even = Timing.of_runs([311.0, 310.0, 312.0], [311.0, 310.0, 312.0], "here", 300.0)
    assert even is not None and even.new == even.again == 311.0
    assert even.source == "median of 6 runs here, 11.0 s beside the budget"
    assert Timing.of_runs([], [], "here", 300.0) is None


def test_the_sentence() -> None:
    assert (
        outlook().sentence()
        == "100 experiments, 129 to 133 runs, 10.8 h to 11.1 h one after another (seen)"
    )
    steps = session_outlook(NIGHT, SHAPES, None, 3600.0)
    assert steps.sentence().endswith(
        "runs; the budget is in steps: their time is known once a run was made"
    )
    assert not steps.cut_short


@dataclass
class Night:
    """A night whose runs take as long as chance will have it, beside each other or not."""

    draw: Random
    low: float
    high: float
    now: float = 0.0
    walls: list[float] = field(default_factory=list)

    def run(self, count: int = 1) -> None:
        """So many runs at once; the harness takes its part."""
        lengths = [self.draw.uniform(self.low, self.high) for _ in range(count)]
        self.walls += lengths
        self.now += max(lengths) + self.draw.uniform(0, HARNESS_SECONDS)

    @property
    def pace(self) -> Pace:
        found = Pace.of(self.walls[-20:])
        assert found is not None
        return found


@pytest.mark.parametrize("beside", [1, 3])
@pytest.mark.parametrize("share", [1.0, 2.5])
def test_a_night_ends_before_its_deadline_or_one_run_later(beside: int, share: float) -> None:
    """The search stops in time, and the certification shrinks where retests took its time."""
    config = replace(NIGHT, candidates=beside)
    for seed in range(40):
        draw = Random(seed)
        low = draw.uniform(1, 400)
        night, kept = Night(draw, low, low * share), 0
        deadline = draw.uniform(12, 80) * night.high
        night.run()
        while True:
            closing = Closing.of(config, kept, len(night.walls), 0.0, beside)
            if night.now + closing.after_experiment(night.pace) > deadline:
                break
            night.run(beside)
            for _ in range(draw.choice([0, 0, 0, config.retests])):
                night.run()
            kept += draw.random() < 0.3
        for _ in range(0, closing.certification, beside):
            if night.now + closing.after_certification(night.pace, 2) <= deadline:
                night.run(beside)
        if closing.certification and (
            night.now + closing.after_certification(night.pace, 1) <= deadline
        ):
            night.run()
        for _ in range(0, closing.confirmation if kept else 0, beside):
            night.run(beside)
            night.run(beside)
        longest = max(night.walls)
        begun = kept or len(night.walls) > 1
        assert not begun or night.now <= deadline + longest, seed
