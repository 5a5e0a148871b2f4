"""Edits that would bend the measurement, and runs that are not like the baseline's."""

import json
import re
from pathlib import Path
from random import Random

import pytest
import yaml

from helpers import BYTELM
from helpers.boxes import Box, make_box
from helpers.edits import NOISE, alternative, change, declare, is_kept, plant_seeds, ruling
from helpers.recorded import Recorded
from helpers.shared import replayed, shared_box
from ratchet.base.structs import replace
from ratchet.records.history import SEED_IGNORED
from ratchet.records.records import PrefixScores, Role
from ratchet.records.store import RunRecord, Store
from ratchet.runs.spec import RunSpec

PRINT = 'print(f"val_loss:         {loss:.6f}")\n'


@shared_box
def bent(path: Path) -> Box:
    """One edit prints a metric of its own, one draws another lot, one only notes something."""
    box = make_box(path, rounds=3, confirm_replicates=1)
    declare(
        box,
        alternative("printer", "optimizer", PRINT, 'print("val_loss: 0.001")\n'),
        alternative("lot", "data", NOISE, "noise = random.Random(SEED + 1).gauss(0, 0.01)\n"),
        alternative("sleeper", "other", "shape = 1.0\n", "shape = 0.99\ntime.sleep(0.01)\n"),
    )
    box.play()
    return box


def test_a_printed_metric_of_its_own_is_not_even_run(bent: Box) -> None:
    found = ruling(bent, "printer")
    assert found["verdict"] == "TAMPERED"
    assert found["reason"].startswith("not run: train.py:")
    assert "prints val_loss or a summary of its own" in found["reason"]
    assert found["runs"] == []
    number = found["number"]
    assert all(event["number"] != number for event in bent.events("run_started"))
    assert [e["number"] for e in bent.events("refused") if e["number"] == number] == [number]
    rows = (bent.session / "results.tsv").read_text().splitlines()
    assert rows[1 + number].split("\t")[3] == "crash"
    page = (bent.session / "report.html").read_text()
    assert "prints val_loss or a summary of its own" in page
    assert "not run      printer" in (bent.session / "progress.log").read_text()


def test_an_edit_of_the_seed_alone_is_not_run(bent: Box) -> None:
    found = ruling(bent, "lot")
    assert found["verdict"] == "TAMPERED"
    assert "changes nothing but how random numbers start" in found["reason"]


def test_a_note_is_shown_and_decides_nothing(bent: Box) -> None:
    found = ruling(bent, "sleeper")
    assert found["verdict"] not in ("TAMPERED", "CRASH")
    assert len(found["notes"]) == 1
    assert "waits, or sets a clock" in found["notes"][0]
    assert "Noticed in the edit: train.py:" in (bent.session / "report.html").read_text()


@pytest.mark.parametrize("lucky", [False, True])
def test_a_jump_beyond_everything_seen_waits_for_a_fresh_run(box: Box, lucky: bool) -> None:
    """Where it depends on the seed of the first run, as luck or a trick would, it is not kept."""
    leap = "shape = 0.1 if SEED == FIRST else 1.0" if lucky else "shape = 0.1"
    change(box, "from prepare import DATA,", "from prepare import DATA, FIRST,")
    declare(box, alternative("leap", "optimizer", "shape = 1.0", leap))
    source = (box.path / "tasks/fake/train.py").read_text().replace("shape = 1.0", leap)
    plant_seeds(box, source, Role.SEARCH, "FIRST = {0}", 0)
    box.play(rounds=1, confirm_replicates=1, max_replicates=5 if lucky else 1)
    found = ruling(box, "leap")
    assert found["quarantined"]
    assert len(found["runs"]) == 2
    assert is_kept(found) is not lucky
    if lucky:
        assert "a fresh run did not confirm it" in found["reason"]
        assert box.json("rounds/0001/verdict.json")["kept"] is None
    else:
        assert "a fresh run confirmed it" in found["reason"]
        page = (box.session / "report.html").read_text()
        assert "Quarantined: larger than everything seen before" in page


EVALUATOR = """
import json, os, socket, sys
def tell(**said): print(json.dumps(said), flush=True)
s = socket.socket(fileno=int(os.environ["RATCHET_EVALUATOR_FD"]))
tell(event="ready")
value = float(s.recv(99))
tell(event="asked")
facts = dict(tokens=7, batches=1, seconds=0.0, reply_seconds=0.0, audit=None)
tell(event="result", value=value, **facts)
s.sendall(b"done")
"""
ASKS = """
print("---")
import socket
evaluator = socket.socket(fileno=int(os.environ["RATCHET_EVALUATOR_FD"]))
evaluator.sendall(repr(loss).encode())
evaluator.recv(9)
tokens = 1000
print(f"tokens: {tokens}")
"""
SPIN = "while time.process_time() < 1.2:\n    pass\n"
PLAUSIBLE = {
    "min_fraction": 0.0,
    "tolerance": 5.0,
    "tokens": "tokens",
    "min_tokens": 0.5,
}


def served(
    path: Path, *edits: dict[str, object], memory: str = "100 * WIDTH", **settings: object
) -> Box:
    """The fake task with an evaluator, which takes the candidate's word for the metric."""
    box = make_box(path, **{"confirm_replicates": 1, **settings})
    change(box, "100 * WIDTH", memory)
    task = box.path / "tasks" / "fake"
    (task / "evaluator.py").write_text(EVALUATOR)
    content = yaml.safe_load((task / "task.yaml").read_text())
    content["fixed"].append("evaluator.py")
    content["data"] = {"visible": ["numbers.txt"], "evaluation": ["audit.txt"]}
    content |= {"evaluator": ["python", "-S", "evaluator.py"], "plausible": PLAUSIBLE}
    (task / "task.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    change(box, 'print("---")\n', ASKS)
    declare(box, *edits)
    box.play()
    return box


@shared_box
def compared(path: Path) -> Box:
    """Candidates that train before the clock, print too few tokens, and take much memory."""
    return served(
        path,
        alternative("early", "data", "shape = 1.0\n", f"shape = 0.5\n{SPIN}"),
        alternative("idle", "data", "tokens = 1000\n", "tokens = 1\n"),
        alternative("fat", "data", "shape = 1.0\n", "shape = 0.9\nfat = bytearray(100 << 20)\n"),
        rounds=3,
        budget_steps=None,
        budget_seconds=0.05,
    )


def test_training_before_the_clock_is_off_the_budget(compared: Box) -> None:
    found = ruling(compared, "early")
    assert found["verdict"] == "CRASH"
    words = r"off budget: used (\S+) s from its start to its last reply, .* runs (\S+) s;"
    said = re.match(words, found["reason"])
    assert said is not None
    assert float(said[1]) >= 1.2 > float(said[2])
    assert len(found["runs"]) == 1
    # The run itself knows nothing of the others.
    key = found["runs"][0]["key"]
    entry = json.loads((compared.path / f"store/runs/{key[:2]}/{key}/run.json").read_text())
    assert entry["record"]["outcome"] == "ok"
    assert "off budget: used" in (compared.session / "report.html").read_text()


def test_too_few_tokens_are_tampered(compared: Box) -> None:
    found = ruling(compared, "idle")
    assert found["verdict"] == "TAMPERED"
    assert "printed tokens 1, the baseline 1000" in found["reason"]


def test_memory_is_charged_as_it_was_measured(compared: Box) -> None:
    found = ruling(compared, "fat")
    assert found["verdict"] not in ("TAMPERED", "CRASH")
    assert 150 < found["memory_mb"] < 200
    assert found["memory_ratio"] > 1.5
    # The machine may have been busy too, which is said first.
    assert any("memory: it printed 100 MiB" in note for note in found["notes"])


@pytest.mark.parametrize("name", ["bent", "compared"])
def test_a_replay_refuses_the_same_and_runs_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    box = request.getfixturevalue(name)
    assert replayed(box, tmp_path / "copy").rulings() == box.rulings()


FIXED = alternative(
    "fixed", "data", "loss = loss * shape + noise\n", "loss = loss * shape - 0.1 + 0 * noise\n"
)


def test_a_candidate_that_ignores_the_seed_is_not_accused_and_claims_nothing(
    tmp_path: Path,
) -> None:
    """So large a jump takes a second run, which repeats the first: there is no confidence."""
    jump = {**FIXED, "replace": str(FIXED["replace"]).replace("0.1", "0.9")}
    box = served(tmp_path / "box", jump, rounds=1, max_replicates=5, baseline_replicates=3)
    found = ruling(box, "fixed")
    assert len(found["runs"]) == 2
    assert (found["verdict"], found["confidence"], found["pareto"]) == ("KEEP", None, None)
    assert SEED_IGNORED in found["reason"]
    assert "P(better)" not in found["reason"]


def test_a_champion_that_ignores_the_seed_is_not_confirmed(tmp_path: Path) -> None:
    """Its one run in the search was enough for a keep; the fresh ones are all alike."""
    box = served(tmp_path / "box", FIXED, rounds=1, confirm_replicates=2, max_replicates=1)
    assert is_kept(ruling(box, "fixed"))
    confirmation = box.json("confirm.json")
    assert confirmation["gain"] is None
    assert SEED_IGNORED in confirmation["detail"]
    assert SEED_IGNORED in (box.session / "report.html").read_text()


def test_memory_below_nothing_is_not_printed(tmp_path: Path) -> None:
    """Neither results.tsv nor the incumbent gets it, and what was needed is charged."""
    edit = alternative("less", "data", "shape = 1.0\n", "shape = 0.5\n")
    box = served(tmp_path / "box", edit, rounds=1, memory="100 if shape == 1 else -1e9")
    found = ruling(box, "less")
    assert is_kept(found)
    assert found["memory_mb"] > 0
    assert any("-1e+09, which cannot be" in note for note in found["notes"])
    assert "-1" not in (box.session / "results.tsv").read_text().splitlines()[2].split("\t")[2]
    assert box.json("rounds/0001/steer.json")["incumbent"]["memory_mb"] > 0


class Leaking(Recorded):
    """Edited sources predict whole windows better than prefixes, by a part of their metric."""

    leak, of = 0.0, "prefixes"

    def execute(self, spec: RunSpec, store: Store, folder: Path) -> RunRecord:
        record = super().execute(spec, store, folder)
        found = record.evaluation
        if found is None or found.value is None:
            return record
        edited = self.edits({name: store.get(sha) for name, sha in spec.sources.items()})
        draw, hard = Random(spec.seed), [2 + i % 7 / 10 for i in range(64)]
        for name in ("prefixes", "audit_prefixes")[: 2 if spec.audit_data else 1]:
            behind = self.leak if edited and name == self.of else 0.0
            cut = tuple(x + behind + draw.gauss(0, 0.01) for x in hard)
            found = replace(found, **{name: PrefixScores(sum(hard) / 64, 64.0, cut)})
        return replace(record, evaluation=found)


def leaking(path: Path, leak: float, of: str) -> Box:
    box, table = make_box(path, task=str(BYTELM)), Leaking.load("bytelm", BYTELM)
    table.leak, table.of = leak, of
    box.backend, box.clock = table, table.clock
    box.play(rounds=8, budget_steps=40)
    return box


def test_a_gain_where_the_answer_can_be_seen_is_no_gain(tmp_path: Path) -> None:
    box = leaking(tmp_path / "leaking", 0.03, "prefixes")
    assert not any(map(is_kept, box.rulings()))
    accused = [r for r in box.rulings() if r["verdict"] == "TAMPERED"]
    assert len(accused) >= 5
    assert re.search(r"predicts 0\.0[23]\d+ better where its windows hold", accused[0]["reason"])


def test_a_champion_that_looks_ahead_in_the_audit_data_is_not_confirmed(tmp_path: Path) -> None:
    """No candidate of the search is accused, whose whole windows and prefixes agree."""
    box = leaking(tmp_path / "box", 0.03, "audit_prefixes")
    assert "TAMPERED" not in {r["verdict"] for r in box.rulings()}
    assert any(map(is_kept, box.rulings()))
    found = box.json("confirm.json")
    assert found["gain"] is None and "hold what comes next" in found["detail"]
