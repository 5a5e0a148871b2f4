"""Seeds without effect, and what a confirmation may rest on: in whole sessions."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

from helpers.autojudge_logs import answer, call
from helpers.boxes import Box, make_box
from helpers.commands import Capsys
from helpers.edits import NOISE, alternative, change, constant, declare
from helpers.shared import shared_box
from ratchet.base.io import digest_file
from ratchet.base.structs import replace
from ratchet.judge.judge import Judge
from ratchet.records.events import read_events
from ratchet.records.history import NO_CHANCE_MEASURED, NO_SEED_EFFECT, NOISE_UNKNOWN, History
from ratchet.records.paths import SessionPaths
from ratchet.records.records import Role, run_seed
from ratchet.records.store import RunRecord
from ratchet.report.statistics import rejudged
from ratchet.runs import executor

SPACE = (
    constant("RATE", 0.8, 0.4),
    constant("DECAY", 0.1),
    alternative("square", "activation", "shape = 1.0", "shape = 0.99"),
)


@shared_box
def seedless(path: Path) -> Box:
    """A trainer that gives the same number with every seed."""
    box = make_box(path, rounds=4, remeasure_every=2, baseline_replicates=3)
    change(box, NOISE, "noise = 0.0\n")
    declare(box, *SPACE)
    box.play()
    return box


def test_a_seed_without_effect_is_said_everywhere(seedless: Box, capsys: Capsys) -> None:
    said = (seedless.session / "progress.log").read_text()
    assert f"baseline 1.4324 in each of 3 runs: {NO_SEED_EFFECT}" in said
    assert NOISE_UNKNOWN in said
    assert "a difference of single measurements" in said
    facts = seedless.json("report.json")
    assert facts["seed"]["effect"] == "none"
    assert NO_CHANCE_MEASURED in facts["answer"]["sentence"]
    page = (seedless.session / "report.html").read_text()
    assert "The seed has no effect here (`seed: hook` in task.yaml may help)" in page
    for claim in ("confirmed with", "±", "fresh seeds each", "would survive"):
        assert claim not in facts["answer"]["sentence"]
    with contextlib.chdir(seedless.path):
        call("ratchet doctor", "--config", "task=tasks/fake")
        assert f"warning  seed       {NO_SEED_EFFECT}" in capsys.readouterr().out
        call("ratchet status")
        assert f"noise   unknown; {NO_SEED_EFFECT}" in capsys.readouterr().out


def test_no_confidence_is_claimed_where_chance_was_not_measured(seedless: Box) -> None:
    confirmed = seedless.json("confirm.json")
    assert confirmed["gain"] == pytest.approx(0.442408)
    assert (confirmed["low"], confirmed["high"]) == (None, None)
    for found in seedless.rulings():
        assert (found["confidence"], found["delta_sd"], found["pareto"]) == (None, None, None)
        assert "P(better)" not in found["reason"]
        assert found["verdict"] in ("KEEP", "DISCARD")
    facts = seedless.json("report.json")
    assert facts["counts"]["expected_false_keeps"] is None
    assert (facts["noise"]["sd"], facts["seeds"]["rows"], facts["strict"]["tested"]) == (
        None,
        [],
        0,
    )
    assert " P 0." not in (seedless.session / "progress.log").read_text()


def test_repetitions_are_neither_made_nor_evidence(seedless: Box) -> None:
    """No candidate is run twice, and the judge keeps the scale that it began with."""
    assert {len(found["runs"]) for found in seedless.rulings()} == {1}
    judge = seedless.json("rounds/0004/judge.json")
    assert judge["settings"]["effect_scale"] == pytest.approx(3e-4 * 1.432408)
    better = [found for found in seedless.rulings() if found["delta"] < 0]
    assert [found["verdict"] for found in better] == ["KEEP"] * len(better)
    # Differences are those of the numbers that were printed.
    assert better[0]["delta"] == pytest.approx(better[0]["mean"] - 1.432408)


def test_the_confirmation_may_be_the_first_to_show_it(box: Box, capsys: Capsys) -> None:
    """Two equal runs of a coarse metric may be an accident; those of both codes are none."""
    change(box, NOISE, "noise = 0.0\n")
    change(box, "loss = loss * shape + noise", "loss = round(loss * shape, 3)")
    declare(box, alternative("square", "activation", "shape = 1.0", "shape = 0.997"))
    box.play(rounds=1, baseline_replicates=2, max_replicates=1)
    (found,) = box.rulings()
    assert found["confidence"] is not None
    (shown,) = box.json("report.json")["experiments"]
    assert (shown["confidence"], shown["verdict"]) == (None, "KEEP")
    assert "later runs showed: the seed has no effect" in shown["reason"]
    with contextlib.chdir(box.path):
        found = answer(capsys, "ratchet status")
    assert (found["noise"], {entry["confidence"] for entry in found["verdicts"]}) == (None, {None})
    assert NO_CHANCE_MEASURED in box.json("report.json")["answer"]["sentence"]


def test_a_metric_that_is_always_the_same_is_saturated(box: Box) -> None:
    change(box, "loss = loss * shape + noise", "loss = 1.0")
    declare(box, *SPACE)
    box.play(rounds=2, confirm_replicates=1, baseline_replicates=3)
    assert box.json("report.json")["seed"]["notes"][1].startswith("Saturated: every value")


def test_the_guarantee_needs_runs_that_differ(box: Box) -> None:
    change(box, NOISE, "noise = 0.0\n")
    declare(box, constant("RATE", 0.8))
    box.play(mode="guaranteed", rounds=1, max_runs=20, baseline_replicates=3)
    (found,) = box.rulings()
    assert (found["verdict"], len(found["runs"])) == ("MARGINAL", 1)
    assert "the mode's test needs fresh runs that differ" in found["reason"]


@pytest.fixture
def timed(box: Box) -> Box:
    """A finished session with a budget of time."""
    box.settings |= {"budget_steps": None, "rounds": 1, "confirm_replicates": 1}
    declare(box, constant("RATE", 0.8))
    box.play()
    return box


def confirm_keys(box: Box) -> list[str]:
    found = box.json("confirm.json")
    return [run["key"] for side in ("baseline_runs", "champion_runs") for run in found[side]]


def confirm_anew(box: Box) -> None:
    """Confirm as Snakemake does where the records of it are gone."""
    shutil.rmtree(box.session / "confirm")
    (box.session / "confirm.json").unlink()
    box.play(first="confirm")


def test_another_session_confirms_with_runs_of_its_own(timed: Box) -> None:
    """Its search comes from the store."""
    before, keys = timed.runs(), confirm_keys(timed)
    shutil.rmtree(timed.session)
    timed.play()
    assert (confirm_keys(timed), timed.runs()) == (keys, before)
    timed.play(session="second")
    shutil.rmtree(timed.session)
    (timed.path / "results" / "second").rename(timed.session)
    assert not {*keys} & {*confirm_keys(timed)}
    assert {event["role"] for event in timed.events("run_finished")} == {"confirm"}


def test_with_a_budget_in_steps_the_store_serves_a_confirmation(timed: Box) -> None:
    timed.settings |= {"budget_steps": 5, "session": "other"}
    timed.play()
    before = timed.runs()
    timed.play(session="third")
    assert timed.runs() == before


def test_a_pair_that_a_stop_tore_apart_is_made_again(timed: Box) -> None:
    key, _ = confirm_keys(timed)
    stored = timed.path / "store" / "runs" / key[:2] / key / "run.json"
    os.utime(stored, (0, 0))
    confirm_anew(timed)
    assert key not in confirm_keys(timed)
    again, before = confirm_keys(timed), timed.runs()
    confirm_anew(timed)
    assert (confirm_keys(timed), timed.runs()) == (again, before)


Execute = Callable[..., RunRecord]


@contextlib.contextmanager
def slower_machine() -> Iterator[None]:
    """Training whose metric is worse by thirty noise sds."""
    real: Execute = executor.execute_run

    def execute(*given: object) -> RunRecord:
        made = real(*given)
        loss = made.metrics["val_loss"]
        assert loss is not None
        return replace(made, metrics={**made.metrics, "val_loss": loss + 0.3})

    with mock.patch.object(executor, "execute_run", execute):
        yield


def test_a_confirmation_that_disagrees_is_said_first(box: Box) -> None:
    declare(box, alternative("square", "activation", "shape = 1.0", "shape = 0.92"))
    box.play(last="rounds", rounds=1)
    judged = box.rulings()
    box.backend = slower_machine
    box.play(first="confirm", rounds=1)
    facts = box.json("report.json")
    found = facts["disagreement"]
    assert {side["code"] for side in found["sides"]} >= {"baseline"}
    assert all(side["after"] - side["before"] > 0.2 for side in found["sides"])
    # The noise is that of all runs of equal code, and the records stay as they are.
    assert 0.1 < found["noise_sd"] < 0.3
    assert box.rulings() == judged
    (changed,) = found["verdicts"]
    assert (changed["number"], changed["was"]) == (1, "STRONG_KEEP") == (1, judged[0]["verdict"])
    assert changed["now"] in ("KEEP", "MARGINAL", "DISCARD")
    page = (box.session / "report.html").read_text()
    first = page.index('<p class="alarm">Search and confirmation disagree: the baseline measured')
    assert first < page.index('<dl class="tiles">')
    assert "search and confirmation disagree" in facts["answer"]["sentence"]


def test_another_machine_is_noticed_where_every_run_of_the_search_repeats(box: Box) -> None:
    change(box, NOISE, "noise = 0.0\n")
    declare(box, constant("RATE", 0.8))
    box.play(last="rounds", rounds=1, baseline_replicates=3)
    box.backend = slower_machine
    box.play(first="confirm", rounds=1, baseline_replicates=3)
    facts = box.json("report.json")
    assert [side["code"] for side in facts["disagreement"]["sides"]] == ["baseline", "champion"]
    assert (facts["confirmation"]["low"], facts["confirmation"]["high"]) == (None, None)
    assert "which repeat each other" in facts["answer"]["sentence"]


def test_a_session_judged_again_as_it_was_judged_has_its_verdicts(box: Box) -> None:
    box.play(rounds=4, candidates=2, remeasure_every=2, last="rounds")
    history = History.read(SessionPaths("default", box.path))
    settings = Judge.from_dict(box.json("rounds/0000/judge.json")).settings
    found = rejudged(history, 1, settings)
    measured = [trial for trial in history.judged if not trial.failed]
    assert len(measured) >= 4 and any(trial.kept for trial in measured)
    assert {**found} == {trial.number: found[trial.number] for trial in measured}
    for trial in measured:
        assert found[trial.number].gain == pytest.approx(trial.gain)
        assert found[trial.number].confidence == pytest.approx(trial.confidence)


def drawn_by(box: Box, session: str = "default") -> dict[str, set[int]]:
    """Seeds of a session's runs by their role; those of the baseline's first apart."""
    found: dict[str, set[int]] = {}
    path = box.path / "results" / session / "baseline.json"
    first = {run["seed"] for run in json.loads(path.read_text())["runs"]}
    for event in read_events(path.with_name("events.jsonl")):
        if event["event"] == "run_started":
            role = "baseline" if event["seed"] in first else event["role"]
            found.setdefault(role, set()).add(event["seed"])
    return found


def test_seeds_mix_in_a_secret_that_the_report_publishes(box: Box) -> None:
    settings = {"seeds": "secret", "rounds": 2, "confirm_replicates": 1}
    box.play(**settings)
    path = box.session / "seed-secret"
    secret = path.read_text().strip()
    assert path.stat().st_mode & 0o777 == 0o600
    assert box.json("report.json")["seed"]["secret"] == secret
    assert box.json("manifest.json")["seed_secret_sha256"] == digest_file(path)
    (tried, *_) = box.json("rounds/0001/proposals.json")["proposals"]
    run = next(r for r in box.rulings() if r["number"] == tried["number"])["runs"][0]
    known = 1, tried["source"], Role.SEARCH, 0
    assert run["seed"] == run_seed(*known, secret) != run_seed(*known)
    source = box.json("baseline.json")["source"]
    seeds, before = drawn_by(box), box.runs()
    assert seeds["baseline"] == {run_seed(1, source, Role.SEARCH, 0)}
    # Another session draws its own; it shares the baseline's first run alone.
    box.play(session="second", **settings)
    other = drawn_by(box, "second")
    assert not any(other.get(role, set()) & seeds[role] for role in ("search", "confirm"))
    # Who has the secret has the same session again, without a run.
    every = box.runs()
    shutil.rmtree(box.session)
    box.session.mkdir()
    path.write_text(f"{secret}\n")
    box.play(**settings)
    assert box.runs() == every
    assert drawn_by(box).keys() == set()
    assert {*before} <= {*every}


def test_a_session_does_not_go_on_with_another_secret(box: Box) -> None:
    box.play(seeds="secret", rounds=1, last="rounds")
    (box.session / "seed-secret").write_text("mine\n")
    said = box.play(seeds="secret", rounds=2, last="rounds", check=False)
    assert box.status != 0
    assert "expected what the session drew its seeds with" in said
