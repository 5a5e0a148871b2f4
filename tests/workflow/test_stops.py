"""Stops of every kind: the plain command goes on, and nothing is lost or repeated.

`RATCHET_KILLS` says how many random kills (default 2); 100 take some minutes.
"""

import contextlib
import json
import os
import random
import shlex
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from helpers.agents import asked, calls, good, hire
from helpers.boxes import SNAKEMAKE, Box, make_box
from helpers.commands import workflow_words
from helpers.edits import change, fail_until_mended
from helpers.shared import shared_box
from ratchet.base.errors import EXIT_UNAVAILABLE
from ratchet.integrity.verify import verify_sessions
from ratchet.steps.plan import STOPPED_HINT

KILLS = int(os.environ.get("RATCHET_KILLS", "2"))
PER_SESSION = 2


def slow_box(path: Path) -> Box:
    """A box whose trainings are long enough for a stop to fall into them."""
    box = make_box(path, rounds=2, confirm_replicates=1)
    change(box, "shape = 1.0\n", "shape = 1.0\ntime.sleep(0.4)\n")
    return box


@shared_box
def undisturbed(path: Path) -> Box:
    """A session that nobody stopped, played in this process."""
    box = slow_box(path)
    box.play(last="confirm")
    return box


def times_run(box: Box) -> set[int]:
    """How often runs were made to their end."""
    return {*Counter(event["key"] for event in box.events("run_finished")).values()}


def test_signals_end_the_session_and_its_trainers_and_it_goes_on(
    tmp_path: Path, undisturbed: Box
) -> None:
    box, said = slow_box(tmp_path / "box"), tmp_path / "said"
    for kind in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        process, seen = box.start(said=said), len(box.events("run_started"))
        box.wait_for(lambda n=seen: len(box.events("run_started")) > n)
        if kind is signal.SIGINT:
            os.killpg(process.pid, kind)  # what a terminal does on Ctrl-C
        else:
            process.send_signal(kind)
        assert process.wait() != 0
        box.wait_for(lambda: not box.trainers())
    # What a terminal shows of Ctrl-C ends with our sentence.
    assert said.read_text().splitlines()[-1] == STOPPED_HINT
    finished_before = set(box.runs())
    started_before = len(box.events("run_started"))
    box.play(last="confirm")
    assert box.state() == undisturbed.state()
    assert times_run(box) == {1}
    started_after = len(box.events("run_started")) - started_before
    assert started_after == len(set(box.runs()) - finished_before)


def test_a_killed_supervisor_costs_one_run_and_the_try_is_told(
    tmp_path: Path, undisturbed: Box
) -> None:
    """The run is made again with its seed; nothing else of the session changes."""
    box = slow_box(tmp_path / "box")
    process = box.start()
    found = box.wait_for(
        lambda: [pid for pid, line in box.trainers().items() if "supervisor.py" in line]
    )
    os.kill(found[0], signal.SIGKILL)
    box.wait_for(lambda: box.events("run_finished"))
    process.wait()
    box.play(last="confirm")
    assert (box.session / "results.tsv").read_bytes() == (
        undisturbed.session / "results.tsv"
    ).read_bytes()
    assert box.runs() == undisturbed.runs()
    (told, *others) = [event["earlier_tries"] for event in box.events("run_finished")]
    assert "its supervisor was killed" in told[0]
    assert not any(others)
    assert "tried twice, the first was ended by signal 9" in (
        (box.session / "progress.log").read_text()
    )
    assert box.json("baseline.json")["runs"][0]["tries"] == 2


def test_an_agent_dies_with_snakemake_and_only_what_it_did_not_answer_is_asked_again(
    box: Box,
) -> None:
    settings = {"rounds": 1, "confirm_replicates": 1}
    hire(box, [["sleep", 3600]], good("RATE", 0.2), **settings)
    process = box.start()
    box.wait_for(lambda: len(asked(box)) == 1)
    process.kill()
    process.wait()
    agent = Path("/proc") / str(asked(box)[0]["pid"])
    box.wait_for(lambda: not agent.exists())
    box.play(last="rounds")
    assert len(asked(box)) == 2
    assert [call["outcome"] for call in calls(box)] == ["proposed"]


def entries(box: Box) -> dict[str, int]:
    """Finished runs, with the identity of their record on the disk."""
    found = (box.path / "store" / "runs").glob("*/*/run.json")
    return {path.parent.name: path.stat().st_ino for path in found}


def disturb(box: Box, draw: random.Random, most: int) -> int:
    """Start the session and kill it, or a part of it, at random; returns how often it was hit."""
    for count in range(most):
        kept = entries(box)
        process = box.start()
        wanted = len(box.events()) + draw.randint(0, 9)
        box.wait_for(lambda n=wanted, p=process: len(box.events()) >= n or p.poll() is not None)
        time.sleep(draw.uniform(0, 0.4))
        if process.poll() is not None:
            return count
        victims = box.processes()
        chosen = draw.choice([[], list(victims), [draw.choice(sorted(victims))]])
        print(f"kill after {len(box.events())} events: {[victims[pid][:200] for pid in chosen]}")
        for pid in chosen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(draw.uniform(0, 0.5) if len(chosen) == 1 else 0)
        process.kill()
        process.wait()
        box.wait_for(lambda: not box.processes())
        assert kept.items() <= entries(box).items(), "a run was replaced"
        if (box.session / "manifest.json").exists():
            assert verify_sessions(box.path).deviations == [], "a kill is no deviation"
    return most


def box_with_an_agent(path: Path) -> Box:
    """A box whose agent is asked ahead, and takes about as long as a run."""
    box = make_box(path, rounds=4, confirm_replicates=1)
    change(box, "shape = 1.0\n", "shape = 1.0\ntime.sleep(0.4)\n")
    values = ("RATE", 0.2), ("WIDTH", 2), ("RATE", 0.4), ("DECAY", 0.1)
    plan = [[["sleep", 0.4], *good(*pair)] for pair in values]
    hire(box, *plan, by_round=True)
    return box


@shared_box
def undisturbed_agent(path: Path) -> Box:
    """A session whose agent was never stopped, played in this process."""
    box = box_with_an_agent(path)
    box.play(last="confirm")
    return box


def test_a_killed_session_of_an_agent_that_is_asked_ahead_ends_as_if_nothing_had_happened(
    tmp_path: Path, undisturbed_agent: Box
) -> None:
    box = box_with_an_agent(tmp_path / "box")
    hits = disturb(box, random.Random("asked ahead"), 3)
    box.run()
    assert box.state() == undisturbed_agent.state()
    assert len(asked(box)) <= 4 + 2 * hits, "more than what was under way was asked for again"
    answered = [(e["round"], e["attempt"]) for e in box.events("agent_answered")]
    # A kill may fall between an answer and its record.
    assert len(answered) <= len(set(answered)) + hits, "an answer was asked for twice"
    spans = {event["round"]: event["time"] for event in box.events("agent_asked")}
    judged = {event["round"]: event["time"] for event in box.events("verdict")}
    assert spans[3] < judged[2], "a round was asked for after the verdict on the one before"


@pytest.mark.parametrize("number", range(max(1, KILLS // PER_SESSION)))
def test_a_killed_session_ends_as_if_nothing_had_happened(
    tmp_path: Path, undisturbed: Box, number: int
) -> None:
    draw = random.Random(f"kills {number}")
    left = PER_SESSION
    for attempt in range(10 * PER_SESSION):
        if not left:
            break
        box = slow_box(tmp_path / f"box-{attempt}")
        hits = disturb(box, draw, left)
        left -= hits
        kept = entries(box)
        box.play()
        assert box.state() == undisturbed.state()
        final = entries(box)
        assert kept.items() <= final.items(), "a run was replaced"
        assert sorted(final) == undisturbed.runs()
        assert times_run(box) == {1}
        assert len(box.events("run_started")) <= len(final) + hits, "a kill cost more than a run"
        assert not box.processes()
        assert verify_sessions(box.path).deviations == []
    assert not left, "the session was always over before it was hit"


def test_a_session_that_could_ask_nobody_ends_with_a_status_of_its_own(tmp_path: Path) -> None:
    box = make_box(tmp_path / "box", rounds=2, confirm_replicates=1)
    denied = {"type": "result", "is_error": True, "result": "Not logged in · Please run /login"}
    hire(box, [["print", json.dumps(denied)], ["exit", 1]])
    said = box.run(check=False)
    assert box.status == EXIT_UNAVAILABLE, said
    assert said.rstrip().splitlines()[-1].startswith("ratchet: the agent custom cannot be asked")
    assert (box.session / "report.html").exists()
    assert len(asked(box)) == 1
    # Nothing is left of it once the tool works.
    (box.path / "agent" / "plan.json").write_text(json.dumps([[], good("RATE", 0.2)] * 3))
    box.run(leg=2)
    assert box.rulings() != []


def test_a_login_is_looked_for_before_anything_is_paid(tmp_path: Path) -> None:
    box = make_box(tmp_path / "box")
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "codex").write_text("#!/bin/sh\necho Not logged in >&2\nexit 1\n")
    (folder / "codex").chmod(0o755)
    box.environment |= {"PATH": f"{folder}:{os.environ['PATH']}", "CODEX_HOME": str(tmp_path)}
    said = box.run(check=False, proposer="codex")
    assert box.status == EXIT_UNAVAILABLE, said
    assert "the agent codex is to propose and is not logged in" in said
    assert "log in (codex login)" in said
    assert not box.session.exists()


def test_the_next_command_is_typed_as_it_stands(box: Box) -> None:
    """One crash ends the baseline, and the command that is advised then has all settings."""
    mended = fail_until_mended(box, "1 / 0")
    short = {"rounds": 1, "confirm_replicates": 1, "isolation": "none"}
    said = box.run(check=False, baseline_replicates=2, **short)
    assert (box.path / "made").read_text() == "x"
    assert "Mend train.py. Then start another session: " in said
    mended.touch()
    command = shlex.join(workflow_words(said)).replace("snakemake", SNAKEMAKE, 1)
    assert "task=tasks/fake" in command and "session=default-2" in command
    done = subprocess.run(command, cwd=box.path, shell=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (box.path / "results/default-2/report.html").is_file()
