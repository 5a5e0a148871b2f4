"""``ratchet status``: what a terminal, a pipe and a tool get, whoever wrote the texts."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.commands import Capsys, Patch
from helpers.session_events import NOW, at, rounds, run, started, verdict, write
from ratchet.base.io import write_json
from ratchet.base.terminal import text_width
from ratchet.base.text import DASH
from ratchet.cli import status
from ratchet.cli.main import main
from ratchet.cli.status import View, frame, overview_lines, slurm_queue
from ratchet.records.ownership import take_sessions
from ratchet.records.paths import SessionPaths
from ratchet.runs.devices import VISIBLE_GPUS

CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u202a-\u202e\u2066-\u2069]")
HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "\x1b]0;pwned\x07\x1b[2J\x1b[31mred",
    "\u202eevil\u2066\u200b",
    "nul\x00 line\nbreak\rreturn\u2028other\x85end",
    "x" * 1_000_000,
    "漢字" * 100,
    "e\u0301" * 80,
)


def lines(capsys: Capsys) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_finished_session_in_a_few_lines(tmp_path: Path, capsys: Capsys) -> None:
    events = [*started(), *rounds("KEEP", "CRASH"), at(900, "reported", answer="much better")]
    write(tmp_path, events)
    assert main(["status", "--root", str(tmp_path)]) == 0
    found = lines(capsys)
    assert found[0] == "night · fake" + " " * 60 + "finished"
    assert found[1] == "much better"
    assert "best    val_loss 0.500 ± 0.010, estimate 0.510, baseline 0.600" in found
    assert "tried   2: 1 kept, 0 discarded, 1 crashed (4 runs)" in found
    assert found[-2:] == [
        "2  CRASH    0.400       –  edit 2",
        "1  KEEP     0.400   0.500  edit 1",
    ]


def test_exit_codes(tmp_path: Path, capsys: Capsys) -> None:
    root = ["--root", str(tmp_path)]
    path = write(tmp_path, [*started(), run(210, False, 1)])
    assert status.main(root) == 1
    assert "--cores 1 --config session=night" in " ".join(lines(capsys))
    assert status.main(["nothing", *root]) == 66
    assert "there are: night" in capsys.readouterr().err
    path.write_text(path.read_text() + json.dumps(at(220, "reported", answer="ok")) + "\n")
    assert status.main(root) == 0
    path.write_text("")
    assert status.main(["night", *root]) in (0, 1), "an empty journal is no accident"


@pytest.mark.parametrize("competes", [True, False])
def test_a_session_with_a_dot_in_its_name_is_not_anothers_leg(
    tmp_path: Path, competes: bool
) -> None:
    write(tmp_path, started())
    write(tmp_path, started(), "night.2")
    if competes:
        SessionPaths("night", tmp_path).tournament.parent.mkdir()
    facts = View(SessionPaths("night", tmp_path), lambda: None).facts(NOW + 300)
    assert facts["phase"] == ("evolving" if competes else "proposing")
    names = [each["session"] for each in status.all_sessions(tmp_path, NOW + 300)]
    assert sorted(names) == (["night"] if competes else ["night", "night.2"])


def test_json_has_everything_and_is_clean(tmp_path: Path, capsys: Capsys) -> None:
    write(tmp_path, [*started(), *rounds("KEEP"), run(310, False, 2, description=HOSTILE[1])])
    status.main(["--json", "--root", str(tmp_path)])
    facts = json.loads(capsys.readouterr().out)
    assert (facts["state"], facts["verdicts"][0]["verdict"]) == ("stale", "KEEP")
    assert facts["disk_free_bytes"] > 0
    assert "\x1b" not in facts["current"][0]["description"]


def test_who_holds_the_folder_is_running(
    tmp_path: Path, capsys: Capsys, monkeypatch: Patch
) -> None:
    write(tmp_path, [*started(), run(210, False, 1)])
    write(tmp_path, [*started(), at(900, "reported", answer="old")], session="later")
    monkeypatch.setattr(time, "time", lambda: at_second(230))
    root = ["--root", str(tmp_path)]
    (handle,) = take_sessions(tmp_path, "night")
    assert status.main(root) == 0
    found = lines(capsys)
    assert found[0].startswith("night")
    assert found[0].endswith("running")
    assert "now     experiment 1: edit 1, 20 s of 60 s" in found
    os.close(handle)
    assert status.main(["night", *root]) == 1


def test_all_sessions_have_a_line_each_and_of_several_one_must_be_named(
    tmp_path: Path, capsys: Capsys
) -> None:
    long, root = "night-" * 10 + "end", ["--root", str(tmp_path)]
    for name in ("night", long, "done"):
        write(tmp_path, [*started(), *rounds("KEEP")], session=name)
    awaited = {"number": 2, "description": "edit 2", "role": "search", "replicate": 0}
    awaited |= {"why": "waits for session \x1b[31mnight, which trains the same run"}
    with (tmp_path / "results" / long / "events.jsonl").open("a") as file:
        file.write(json.dumps(at(time.time() - at_second(0), "run_waiting", **awaited)) + "\n")
    handles = take_sessions(tmp_path, "night") + take_sessions(tmp_path, long, [f"{long}.bold"])
    assert status.main(["--all", *root]) == 0
    found = lines(capsys)
    assert all(len(line) <= 80 and not CONTROLS.search(line) for line in found)
    first, second, third = (line.split() for line in found[1:4])
    assert third[:2] == ["done", "stale"] and third[-1] == DASH
    assert {first[-1], second[-1]} == {str(os.getpid())}
    (waiting,) = (line for line in found if "waits: " in line)
    assert waiting.startswith("night-")
    assert found[4] == "?: of the search, not confirmed"
    assert status.main(["--all", "--json", *root]) == 0
    told = {each["session"]: each for each in json.loads(capsys.readouterr().out)["sessions"]}
    assert list(told)[2] == "done" and told["done"]["pid"] is None
    assert told[long]["waits_for"] and told["night"]["waits_for"] is None
    assert status.main(root) == 64
    said = capsys.readouterr().err
    assert f"since 2 are running here: {long}, night" in said
    assert "ratchet status --all" in said
    for handle in handles:
        os.close(handle)
    assert status.main(["--all", "--root", str(tmp_path / "none")]) == 0
    assert "no session yet" in capsys.readouterr().out


def test_a_line_names_the_gpu_of_a_run_or_what_it_waits_for(tmp_path: Path) -> None:
    begun = {**run(210, False, 1), "device": {"index": 1, "uuid": "GPU-1", "name": "H200"}}
    why = "waits for a GPU: both are used by session night (experiment 1, since 02:14)"
    waits = {**run(211, False, 1), "event": "run_waiting", "why": why}
    write(tmp_path, [*started(), begun], session="night")
    write(tmp_path, [*started(), waits], session="later")
    found = {each["session"]: each for each in status.all_sessions(tmp_path, NOW + 220)}
    assert (found["night"]["device"], found["night"]["waits_for"]) == ("GPU 1", None)
    assert found["later"]["waits_for"] == "GPU"
    assert any("waits: GPU" in line for line in overview_lines([*found.values()], 80, False))


def at_second(second: float) -> float:
    return NOW + second


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_hostile_texts_stay_in_their_place(tmp_path: Path, place: int) -> None:
    text = HOSTILE[place]
    events = [
        *started(session="night", metric=text, task=text),
        verdict(290, 1, "KEEP", description=text, reason=text),
        run(310, False, 2, description=text),
        at(320, "stopped", reason=text, detail=text, round=2),
    ]
    failed = at(330, "failed", step="judge", error="x", message=text)
    for more in ([], [failed], [at(330, "reported", answer=text)]):
        view = View(SessionPaths("night", tmp_path))
        write(tmp_path, [*events, *more])
        view.update()
        facts = view.facts(at_second(330))
        for width in (40, 60, 80, 200):
            found = frame(facts, width, None, colour=False)
            assert len(found) < 150
            assert all(text_width(line) <= width for line in found)
            assert not CONTROLS.search("".join(found))


def test_a_small_window_gets_what_matters_most(tmp_path: Path) -> None:
    write(tmp_path, [*started(), *rounds("KEEP", "DISCARD", "CRASH")])
    facts = View(SessionPaths("night", tmp_path)).facts(at_second(510))
    for height in range(1, 30):
        assert len(frame(facts, 60, height, colour=False)) <= height
    assert frame(facts, 60, 1, colour=False)[0].startswith("night")


def test_a_pipe_gets_one_line_per_event(tmp_path: Path, capsys: Capsys) -> None:
    events = [*started(), *rounds("KEEP"), run(310, True, 2, description=HOSTILE[1])]
    write(tmp_path, [*events, at(900, "reported", answer="much better")])
    assert status.main(["--watch", "--root", str(tmp_path)]) == 0
    found = lines(capsys)
    assert found[-1] == "night: finished: much better"
    assert any(line.startswith("03:04:50  round 1/4  #1 edit 1") for line in found)
    assert "\x1b" not in "".join(found)
    status.main(["--watch", "--json", "--root", str(tmp_path)])
    (one,) = lines(capsys)
    assert json.loads(one)["state"] == "finished"


NVML = SimpleNamespace(
    NVMLError=LookupError,
    NVML_CLOCK_SM=0,
    NVML_TEMPERATURE_GPU=0,
    nvmlDeviceGetCount=lambda: 1,
    nvmlDeviceGetHandleByIndex=lambda index: index,
    nvmlDeviceGetUUID=lambda _: "GPU-1",
    nvmlDeviceGetName=lambda _: "NVIDIA H200",
    nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(used=46_285 << 20, total=143_771 << 20),
    nvmlDeviceGetUtilizationRates=lambda _: SimpleNamespace(gpu=98),
    nvmlDeviceGetPowerUsage={}.__getitem__,
    nvmlDeviceGetTemperature=lambda _handle, _kind: 61,
)
"""What is used of pynvml, with one GPU that does not tell its power."""


@pytest.mark.parametrize(("device", "shown"), [("gpu", True), ("cpu", False)])
def test_what_the_gpu_does_while_the_session_runs(
    tmp_path: Path, monkeypatch: Patch, device: str, shown: bool
) -> None:
    monkeypatch.delenv(VISIBLE_GPUS, raising=False)
    write(tmp_path, [*started(device=device), run(210, False, 1)])
    view = View(SessionPaths("night", tmp_path), nvml=lambda: NVML)
    found = frame(view.facts(at_second(230)), 80, 24, colour=False)
    write_json(view.paths.manifest, {"machine": {"cpu": "EPYC\x1b[2J", "threads": 8}})
    named = "\n".join(frame(view.facts(at_second(230)), 80, 24, colour=False))
    assert re.search(r"(?m)^machine EPYC.*, 8 threads$", named) and "\x1b" not in named
    row = "GPU 0   NVIDIA H200: 98 %, 45.2 of 140 GiB, 61 °C, –"
    assert (row in found) is shown
    later = frame(view.facts(at_second(9999)), 80, 24, colour=False)
    assert not any("GPU" in line for line in later), "it tells nothing of a dead session"


class Terminal:
    """The command in a terminal of its own; what it wrote there."""

    def __init__(self, root: Path, **environment: str) -> None:
        ours, theirs = pty.openpty()
        os.set_blocking(ours, False)
        self.ours, self.text = ours, ""
        kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ratchet.cli.main", "status", "--watch", "--root", str(root)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**kept, "TERM": "xterm", **environment},
            # Of a shell's background job an interrupt is ignored, and so would be its children's.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        os.close(theirs)

    def until(self, condition: Callable[[], Any]) -> None:
        limit = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < limit, self.text
            try:
                self.text += os.read(self.ours, 1 << 16).decode()
            except (BlockingIOError, OSError):
                time.sleep(0.02)


@pytest.fixture
def running(tmp_path: Path) -> Any:
    """A session that a living process holds, and that was heard of just now."""
    now = time.time() - at_second(0)
    just_now = at(now, "round_finished", round=1, rounds=4)
    path = write(tmp_path, [*started(), *rounds("KEEP"), just_now])
    (handle,) = take_sessions(tmp_path, "night")
    yield path
    os.close(handle)


@pytest.mark.parametrize("colour", [True, False])
def test_a_terminal_is_redrawn_in_place_and_given_back(
    running: Path, tmp_path: Path, colour: bool
) -> None:
    terminal = Terminal(tmp_path, **({} if colour else {"NO_COLOR": "1"}))
    terminal.until(lambda: "edit 1" in terminal.text)
    assert terminal.text.startswith("\x1b[?1049h")
    assert ("\x1b[32m" in terminal.text) is colour
    with running.open("a") as stream:
        stream.write(json.dumps(verdict(600, 2, "CRASH", description="a new one")) + "\n")
    terminal.until(lambda: "a new one" in terminal.text)
    assert terminal.text.count("\x1b[H") >= 2
    if colour:
        terminal.process.send_signal(signal.SIGINT)
    else:  # it ends with the session
        with running.open("a") as stream:
            stream.write(json.dumps(at(600, "reported", answer="much better")) + "\n")
    terminal.until(lambda: terminal.process.poll() is not None)
    last = "edit 1" if colour else "much better"
    terminal.until(lambda: last in terminal.text.partition("\x1b[?25h\x1b[?1049l")[2])
    assert terminal.process.returncode == (130 if colour else 0)
    os.close(terminal.ours)


def test_jobs_that_wait_at_slurm_are_said(
    running: Path, tmp_path: Path, capsys: Capsys, monkeypatch: Patch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    squeue = programs / "squeue"
    rows = [("Resources", tmp_path), ("Priority", tmp_path), ("\x1b[2J", "/another/folder")]
    body = "".join(f"{reason}|{place}\n" for reason, place in [*rows, rows[0]])
    squeue.write_text(f"#!/bin/sh\ncat <<'END'\n{body}END\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    assert slurm_queue(tmp_path) == [], "no job was sent to Slurm from there"
    (tmp_path / ".snakemake" / "slurm_logs").mkdir(parents=True)
    assert main(["status", "--root", str(tmp_path)]) == 0
    assert "queue   3 jobs not started by Slurm yet: Priority, Resources" in lines(capsys)
    squeue.write_text("#!/bin/sh\nexit 1\n")
    assert slurm_queue(tmp_path) == []
