"""What people are told of, once each, by a command that nobody waits for."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import REPO
from helpers.commands import Capsys, Patch
from helpers.session_events import at, rounds, run, started, verdict, write
from ratchet.base.errors import FixedInputChangedError
from ratchet.base.structs import to_json_values
from ratchet.config import Config, parse_config
from ratchet.monitor import notify
from ratchet.monitor.notify import MOST_CHARACTERS, Kind, Notice, Notifier, notices, watch_inputs
from ratchet.records.events import Journal, read_events
from ratchet.records.paths import SessionPaths


def told(events: list[dict[str, Any]], failures: int = 3) -> list[Notice]:
    """Everything that is said in the course of a session."""
    return [
        notice
        for place, event in enumerate(events)
        for notice in notices(event, events[:place], "night", failures)
    ]


def kinds(events: list[dict[str, Any]], failures: int = 3) -> list[str]:
    return [notice.kind.value for notice in told(events, failures)]


REPORTED = at(900, "reported", answer="0.6 → 0.5")
MOVED = at(395, "remeasured", round=3, number=1, alarm=True, value=0.9, expected=0.5, sd=0.1, z=4.0)


def test_a_champion_an_alarm_and_the_end() -> None:
    found = told([*started(), *rounds("KEEP", "DISCARD", "TAMPERED"), MOVED, REPORTED])
    assert [notice.kind for notice in found] == ["champion", "alarm", "alarm", "ended"]
    assert [notice.message for notice in found] == [
        "session night: new champion in round 1/4: #1 edit 1 "
        "(best 0.5000 ± 0.0100, estimate 0.5100, P 0.400, 1 kept)",
        "session night: experiment 3 is tampered with: edit 3: as it is",
        "session night: the incumbent moved: expected 0.5000 ± 0.1000, measured 0.9000; "
        "the machine or the data may have changed",
        "session night: ended: 0.6 → 0.5",
    ]


def test_what_ended_it_early_is_said_unless_it_went_on() -> None:
    stopped = at(350, "stopped", reason="deadline", detail="the time limit is over", round=2)
    early = [*started(), *rounds("KEEP"), stopped]
    assert told([*early, REPORTED])[-1].message.endswith(
        "0.5; no more experiments: the time limit is over"
    )
    on = [*early, run(360, True, 2), verdict(370, 2), REPORTED]
    assert told(on)[-1].message.endswith("ended: 0.6 → 0.5")


@pytest.mark.parametrize(
    ("words", "failures", "expected"),
    [
        (("CRASH", "CRASH", "CRASH"), 3, 1),
        (("CRASH", "CRASH", "CRASH", "CRASH"), 3, 1),
        (("CRASH", "DISCARD", "CRASH", "CRASH"), 3, 0),
        (("CRASH", "DISCARD", "CRASH"), 1, 2),
        (("CRASH", "TAMPERED"), 2, 1),
        (("DISCARD", "MARGINAL"), 1, 0),
    ],
)
def test_failures_in_a_row(words: tuple[str, ...], failures: int, expected: int) -> None:
    assert kinds([*started(), *rounds(*words)], failures).count(Kind.FAILURES) == expected


def test_failed_proposals_count_among_the_failures() -> None:
    def refused(number: int, again: bool) -> dict[str, Any]:
        about = {"round": number, "slot": 0, "attempt": 1 if again else 2, "again": again}
        return at(300 + number, "agent_refused", agent="codex", reason="empty diff", **about)

    events = [*started(), *rounds("CRASH"), refused(2, True), refused(2, False)]
    assert kinds(events) == []
    (notice,) = told([*events, refused(3, True), refused(3, False)])
    assert notice.message == ("session night: 3 failures in a row, the last: codex: empty diff")


def test_what_is_written_twice_is_told_once() -> None:
    """A kill between an event and its record, a judge that judges again, another report."""
    events = [*started(), *rounds("KEEP", "TAMPERED", "CRASH", "CRASH"), MOVED, REPORTED]
    once = kinds(events)
    assert sorted(once) == ["alarm", "alarm", "champion", "ended", "failures"]
    judged = [event for event in events if event["event"] in ("verdict", "remeasured")]
    assert kinds([*events, at(950, "resumed", rounds=4), *judged, REPORTED]) == once
    twice = [event for event in events for _ in range(2)]
    assert kinds(twice) == once
    replay = [event for event in events if event["event"] not in ("run_started", "run_finished")]
    assert kinds(replay) == [], "a replay from the store tells nobody"


def test_a_verdict_that_changed_is_news_and_another_end_after_new_runs() -> None:
    quiet = [*started(), *rounds("DISCARD"), MOVED | {"alarm": False}]
    assert kinds(quiet) == []
    assert kinds([*quiet, verdict(900, 1, "KEEP")]) == ["champion"]
    events = [*started(), *rounds("KEEP"), REPORTED, run(910, True, 2), verdict(920, 2), REPORTED]
    assert kinds(events).count("ended") == 2


def test_a_failure_is_told_once_until_something_was_done() -> None:
    failed = at(310, "failed", step="judge", error="StoreError", message="no room")
    resumed = at(320, "resumed", rounds=4)
    events = [*started(), failed, resumed, failed, resumed, failed]
    (notice,) = told(events)
    assert notice.kind is Kind.FAILED
    assert notice.message == "session night: stopped in judge: no room"
    assert kinds([*events, verdict(400, 1), failed]) == ["failed", "failed"]
    facts = {"step": "start", "error": "FixedInputChangedError", "message": "a.txt: expected\n1"}
    (notice,) = told([*started(), at(310, "failed", **facts)])
    assert notice.kind is Kind.ALARM
    assert notice.message == "session night: stopped in start: a.txt: expected 1"


def test_messages_are_one_clean_short_line() -> None:
    text = "\x1b[31m\u202ebad\x00\nline\ud800" + "x" * 1_000_000
    (notice,) = told([*started(), run(210, True, 1), verdict(290, 1, "KEEP", description=text)])
    assert len(notice.message) <= MOST_CHARACTERS
    assert notice.message.isprintable()
    assert notice.message.encode()


def test_damaged_events_are_told_to_nobody() -> None:
    events = [*started(), *rounds("KEEP")]
    for damaged in (
        {"event": "verdict"},
        {"event": ["verdict"]},
        {"event": "reported"},
        verdict(900, 9, "NONSENSE"),
        {**MOVED, "sd": None},
    ):
        assert notices(damaged, events, "night", 3) == []


SCHEMA = REPO / "config" / "schema.yaml"

TELL = """
import json, os, pathlib, sys
said = {"words": sys.argv[1:], "input": json.loads(sys.stdin.read()), "folder": os.getcwd()}
said["variables"] = {n: text for n, text in os.environ.items() if n.startswith("RATCHET_")}
part = pathlib.Path(f"told.{os.getpid()}")
part.write_text(json.dumps(said))
part.rename(f"told-{os.getpid()}.json")
"""


def config(**settings: Any) -> Config:
    values = yaml.safe_load((REPO / "config" / "config.yaml").read_text())
    return parse_config({**values, "session": "night", **settings}, SCHEMA, "here")


class Place:
    """A session in which a champion is about to be found, and who is told of it."""

    def __init__(self, root: Path, script: str, *words: str, program: str = "python") -> None:
        self.root = root.resolve()
        self.paths = SessionPaths("night", self.root)
        (self.root / "tell.py").write_text(script)
        self.config = config(notify_command=[program, "-S", "tell.py", *words])
        write(root, [*started(), run(270, True, 1)])
        self.journal = Journal(self.paths.events, Notifier(self.config, self.paths))

    def find(self, **facts: Any) -> float:
        """Append the verdict; gives the seconds that it took."""
        event = {k: v for k, v in verdict(290, 1, "KEEP", **facts).items() if k != "time"}
        began = time.monotonic()
        self.journal.append(event.pop("event"), **event)
        return time.monotonic() - began

    def wait_for(self, condition: Any) -> Any:
        limit = time.monotonic() + 20
        while not (found := condition()):
            assert time.monotonic() < limit
            time.sleep(0.02)
        return found

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in self.root.glob("told-*.json")]

    def failures(self) -> list[dict[str, Any]]:
        return [e for e in read_events(self.paths.events) if e["event"] == "notify_failed"]


def test_variables_and_standard_input(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv("RATCHET_CONFIG", "secret")
    place = Place(tmp_path, TELL, "--title", "{other}")
    place.find(description="{event} $(touch pwned) `id`; rm -rf")
    (said,) = place.wait_for(place.told)
    message = said["variables"]["RATCHET_MESSAGE"]
    assert said["words"] == ["--title", "{other}"]
    assert "{event} $(touch pwned) `id`; rm -rf" in message
    assert said["input"]["message"] == message
    assert said["input"]["details"]["event"] == "verdict"
    assert said["folder"] == str(place.root)
    about = {"RATCHET_EVENT": "champion", "RATCHET_SESSION": "night", "RATCHET_MESSAGE": message}
    assert said["variables"] == about
    assert not (place.root / "pwned").exists()
    assert place.failures() == []
    place.find(description="the same verdict again is no news")
    time.sleep(0.3)
    assert len(place.told()) == 1


def test_a_hanging_command_is_not_waited_for_and_ends(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(notify, "SECONDS", 0.5)
    script = (
        "import os, pathlib, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '3600'], start_new_session=True)\n"
        "pathlib.Path('pids').write_text(f'{os.getpid()} {child.pid}')\n"
        "time.sleep(3600)\n"
    )
    place = Place(tmp_path, script)
    assert place.find() < 0.5, "nobody waits"
    (failure,) = place.wait_for(place.failures)
    assert (failure["about"], failure["reason"]) == ("champion", "was ended after 0.5 s")
    for pid in (tmp_path / "pids").read_text().split():
        place.wait_for(lambda pid=pid: not Path(f"/proc/{pid}/cmdline").exists() or _dead(pid))


def _dead(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize(
    ("program", "script", "words"),
    [
        ("python", "import sys; print('no\\x1b[31m route'); sys.exit(3)", "with status 3: no"),
        ("python", "import os; os.kill(os.getpid(), 9)", "ended with status -9"),
        ("python", "import os; os.close(0); print('x' * 9_999_999); raise OSError", "x"),
        ("no-such-program-here", "", "cannot be started"),
    ],
)
def test_a_failing_command_is_one_event(
    tmp_path: Path, program: str, script: str, words: str
) -> None:
    place = Place(tmp_path, script, program=program)
    place.find()
    (failure,) = place.wait_for(place.failures)
    assert words in failure["reason"] and len(failure["reason"]) < 400


def test_whatever_goes_wrong_before_it_starts_is_a_line(
    tmp_path: Path, monkeypatch: Patch, capsys: Capsys
) -> None:
    place = Place(tmp_path, TELL)

    def broken(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", broken)
    place.find()
    assert "nobody could be told: no more processes" in capsys.readouterr().err


def test_it_outlives_the_step_and_what_the_step_clears_away(tmp_path: Path) -> None:
    """A step kills all that is below it after each run, and then ends."""
    place = Place(tmp_path, f"import time; time.sleep(1)\n{TELL}")
    code = """
import json, pathlib, subprocess, sys
from ratchet.config import Config
from ratchet.monitor.notify import Notifier
from ratchet.records.events import Journal
from ratchet.records.paths import SessionPaths
from ratchet.runs.process import adopt_orphans, kill_descendants
adopt_orphans()
subprocess.Popen(["sleep", "3600"], start_new_session=True)
paths = SessionPaths("night", pathlib.Path(sys.argv[1]))
journal = Journal(paths.events, Notifier(Config(**json.loads(sys.argv[2])), paths))
facts = json.loads(sys.argv[3])
journal.append(facts.pop("event"), **{k: v for k, v in facts.items() if k != "time"})
print(kill_descendants())
"""
    given = [json.dumps(to_json_values(place.config)), json.dumps(verdict(290, 1, "KEEP"))]
    done = subprocess.run(
        [sys.executable, "-c", code, str(place.root), *given],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout == "1\n", "the sleeping process, and not the message"
    assert place.told() == []
    (said,) = place.wait_for(place.told)
    assert said["input"]["event"] == "champion"


def test_a_changed_input_is_told_by_whoever_starts_the_session(tmp_path: Path) -> None:
    place = Place(tmp_path, TELL)

    def start(owner: bool) -> None:
        with (
            pytest.raises(FixedInputChangedError),
            watch_inputs(place.config, place.paths, owner),
        ):
            raise FixedInputChangedError("a.txt: expected 1, found 2")

    start(owner=True)
    start(owner=True)
    (said,) = place.wait_for(place.told)
    assert said["variables"]["RATCHET_EVENT"] == "alarm"
    assert "stopped in start: a.txt: expected 1, found 2" in said["input"]["message"]
    before = place.paths.events.read_bytes()
    start(owner=False)
    assert place.paths.events.read_bytes() == before, "a look alone changes nothing"


def test_a_missing_program_is_said_at_the_start(tmp_path: Path, capsys: Capsys) -> None:
    paths = SessionPaths("night", tmp_path)
    with watch_inputs(config(notify_command=["no-such-program-here"]), paths, owner=True):
        pass
    assert "no program 'no-such-program-here' here" in capsys.readouterr().err
    with watch_inputs(config(notify_command=["python", "x.py"]), paths, owner=True):
        pass
    assert capsys.readouterr().err == ""
    assert not list(tmp_path.iterdir())
