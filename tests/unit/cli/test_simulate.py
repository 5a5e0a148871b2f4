"""``ratchet simulate``: options, tables, JSON and refusals."""

import json

import pytest

from helpers.commands import Capsys
from ratchet.cli.simulate import main
from ratchet.records.records import Verdict
from ratchet.simulation.session import RULES
from ratchet.simulation.worlds import WORLDS

SMALL = ["--runs", "12", "--sessions", "3", "--jobs", "1"]


def output(capsys: Capsys, *options: str) -> str:
    assert main([*SMALL, *options]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_tables_are_aligned_and_narrow(capsys: Capsys) -> None:
    out = output(capsys, "--rules", "all")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith("typical: ") and "12 runs" in lines[0] and "3 sessions" in lines[0]
    for name in RULES:
        rows = [line for line in lines if line.startswith(f"{name} ")]
        assert len(rows) in (2, 3)
    heads = [i for i, line in enumerate(lines) if line.startswith("rule ")]
    assert len(heads) == 2
    for i in heads:
        block = lines[i : i + 1 + len(RULES)]
        assert len({len(line) for line in block}) == 1


def test_json_has_every_measure(capsys: Capsys) -> None:
    found = json.loads(output(capsys, "--json", "--rules", "greedy,gain", "--world", "divergent"))
    assert found["plan"] == {
        "world": "divergent", "runs": 12, "noise_sd": 5e-4, "sessions": 3, "seed": 1,
        "baseline_runs": 1, "scale_from_baseline": False,
    }  # fmt: skip
    greedy, gain = found["rules"]
    assert (greedy["name"], gain["name"], found["against"]) == ("greedy", "gain", "greedy")
    assert greedy["over"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert greedy["brier"] is None
    for name in ("true_gain", "bias", "false_keeps", "brier", "noise_ratio"):
        assert gain[name]["low"] <= gain[name]["value"] <= gain[name]["high"], name
    assert "calibration_error" in gain
    assert {hit["verdict"] for hit in gain["hit_rates"]} <= set(Verdict)
    total = gain["proposals"]["value"] + gain["retests"]["value"] + 1
    assert total == pytest.approx(12)


def test_the_same_seed_gives_the_same_output(capsys: Capsys) -> None:
    options = ["--rules", "seeds-2,strict", "--json", "--world", "heavy"]
    one = output(capsys, *options)
    assert output(capsys, *options) == one
    assert output(capsys, *options, "--jobs", "2") == one
    assert output(capsys, *options, "--seed", "2") != one


def test_the_rule_compared_with_is_always_there(capsys: Capsys) -> None:
    out = output(capsys, "--rules", " strict , strict,", "--against", "gain", "--json")
    gain, strict = json.loads(out)["rules"]
    assert (gain["name"], gain["over"]["value"], strict["name"]) == ("gain", 0, "strict")


def test_options_reach_the_judge(capsys: Capsys) -> None:
    common = ["--rules", "gain", "--json", "--noise-sd", "3e-3"]
    known = json.loads(output(capsys, *common))["rules"][1]
    learned = json.loads(output(capsys, *common, "--scale", "baseline"))["rules"][1]
    more = json.loads(output(capsys, *common, "--baseline", "5"))["rules"][1]
    assert known["noise_ratio"] != learned["noise_ratio"]
    assert more["proposals"]["value"] + more["retests"]["value"] == pytest.approx(12 - 5)


def test_help_tells_of_every_world_and_rule(capsys: Capsys) -> None:
    assert main(["--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for named in (*WORLDS.values(), *RULES.values()):
        assert f" {named.name} {named.summary} " in out
