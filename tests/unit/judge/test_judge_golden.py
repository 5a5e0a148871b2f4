"""Call-by-call values: a sequence of our own and the dense reference's."""

import json
from typing import Any

import pytest

from helpers import SHARED
from ratchet.judge.judge import Judge
from ratchet.judge.settings import Settings
from ratchet.records.records import Verdict

GOLDEN = SHARED / "judge" / "golden.json"


NUMBERS = ("confidence", "confidence_at_threshold", "gain", "delta", "delta_sd")
NUMBERS += ("retest_value", "fresh_value")
# Runs of the incumbent, a crash, and candidates: their runs, the threshold, the verdict, its
# numbers, and the noise floor once they were decided.
# fmt: off
PINNED: list[Any] = [
    2.013, 1.998, 2.004,
    ((1.752,), 0.0, Verdict.STRONG_KEEP, (0.997394141, 0.997394141, 0.250057917, -0.253,
     0.0150068978, 3.94428934e-12, 0.00749668451), 0.00961102878),
    ((1.749,), 0.0, Verdict.DISCARD, (0.303538439, 0.303538439, -0.000300269383,
     -0.00519831837, 0.0207039016, 2.8555985e-06, 0.0249757325), 0.00811495035),
    "crash",
    ((1.731, 1.744), 0.0, Verdict.MARGINAL, (0.519832823, 0.519832823, 0.00374574214,
     -0.0133012323, 0.0111594143, 0.0026376635, 0.022767606), 0.00911613923),
    ((1.69, 1.702, 1.697), 0.02, Verdict.STRONG_KEEP, (0.996754619, 0.989292262,
     0.0473716499, -0.0490904494, 0.0092793275, 1.45331411e-09, 0.0228376179), 0.00832312924),
    ((2.9,), 0.0, Verdict.DISCARD, (6.59191806e-25, 6.59191806e-25, -1.2024876,
     1.20286092, 0.0108351331, 0, 0), 0.00833390866),
    ((1.701,), -0.004, Verdict.KEEP, (0.240525504, 0.786744478, -0.00157860012,
     0.00375799308, 0.0108825464, 0.000142514044, 0.0239817714), 0.00791805061),
    1.695,
    ((1.693, 1.671), 0.0, Verdict.KEEP, (0.701107797, 0.701107797, 0.00786577577,
     -0.0157664324, 0.00735487218, 0, 0.0220549126), 0.0092875611),
]
# fmt: on


def test_pinned_sequence() -> None:
    judge = Judge(Settings(0.7, noise_center=0.01, effect_scale=0.01, outlier_residual=0.0))
    for step in PINNED:
        if isinstance(step, float):
            judge.incumbent(step)
        elif step == "crash":
            judge.crash()
        else:
            ys, threshold, verdict, numbers, noise_sd = step
            found = judge.assess(ys, threshold)
            assert found.verdict is verdict
            for name, number in zip(NUMBERS, numbers, strict=True):
                assert getattr(found, name) == pytest.approx(number, rel=1e-6, abs=1e-9), name
            judge.commit(verdict.is_keep)
            assert judge.noise_sd == pytest.approx(noise_sd, rel=1e-6)
    assert judge.noise_interval() == pytest.approx((0.00512062263, 0.0158437886), rel=1e-6)
    assert judge.incumbent_mean == pytest.approx(1.68691199, rel=1e-7)
    assert judge.incumbent_sd == pytest.approx(0.00699876367, rel=1e-6)
    assert judge.expected_false_keeps == pytest.approx(0.525461321, rel=1e-6)


# Names of numbers here and in the reference.
REFERENCE = {"gain": "gain", "delta": "delta", "delta_sd": "noise_delta"}
REFERENCE |= {"retest_value": "evi", "fresh_value": "v_fresh"}


@pytest.mark.skipif(not GOLDEN.exists(), reason="the reference's values are not here")
def test_values_of_the_dense_reference() -> None:
    judge = Judge(Settings())
    for entry in json.loads(GOLDEN.read_text(encoding="utf-8")):
        if entry["op"] == "incumbent":
            judge.incumbent(entry["y"])
            assert judge.noise_sd == pytest.approx(entry["s_hat"], abs=1e-9)
            continue
        ys = entry["ys"]
        found = [judge.assess(ys[:count]) for count in range(1, len(ys) + 1)][-1]
        assert found.verdict.value == entry["verdict"]
        assert found.confidence == pytest.approx(entry["confidence"], abs=1e-6)
        for ours, theirs in REFERENCE.items():
            assert getattr(found, ours) == pytest.approx(entry[theirs], abs=1e-9), ours
        judge.commit(entry["keep"])
        assert judge.noise_sd == pytest.approx(entry["s_hat_after"], abs=1e-9)
