"""Call-by-call values of the dense reference."""

import json

import pytest

from helpers import SHARED
from ratchet.judge.judge import Judge
from ratchet.judge.settings import Settings

GOLDEN = SHARED / "judge" / "golden.json"

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
