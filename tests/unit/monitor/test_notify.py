"""Messages leave by a command that nobody waits for and whose failure harms nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from helpers import REPO
from helpers.session_events import started, verdict, write
from ratchet.base.errors import ConfigError, FixedInputChangedError
from ratchet.base.structs import replace, to_json_values
from ratchet.config import Config, parse_config
from ratchet.monitor import notify
from ratchet.monitor.notify import Notifier, watch_inputs
from ratchet.records.events import Journal, read_events
from ratchet.records.paths import SessionPaths

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
    import yaml

    values = yaml.safe_load((REPO / "config" / "config.yaml").read_text())
    return parse_config({**values, "session": "night", **settings}, SCHEMA, "here")


class Place:
    """A session in which a champion is about to be found, and who is told of it."""

    def __init__(self, root: Path, script: str, *words: str) -> None:
        self.root = root.resolve()
        self.paths = SessionPaths("night", self.root)
        (self.root / "tell.py").write_text(script)
        command = ["python", "-S", "tell.py", *words]
        self.config = config(notify_command=command)
        write(root, [*started(), _run_of(1)])
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


def _run_of(number: int) -> dict[str, Any]:
    from helpers.session_events import run

    return run(270, True, number)


def test_variables_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_nobody_is_told_twice(tmp_path: Path) -> None:
    place = Place(tmp_path, TELL)
    place.find()
    place.wait_for(place.told)
    for _ in range(3):
        place.find()
    time.sleep(0.5)
    assert len(place.told()) == 1


def test_a_hanging_command_is_not_waited_for_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    ("script", "words"),
    [
        ("import sys; print('no\\x1b[31m route'); sys.exit(3)", "ended with status 3: no"),
        ("import os; os.kill(os.getpid(), 9)", "ended with status -9"),
        ("import os; os.close(0); [print('x' * 9999) for _ in range(999)]; raise OSError", "x"),
    ],
)
def test_a_failing_command_is_one_event(tmp_path: Path, script: str, words: str) -> None:
    place = Place(tmp_path, script)
    place.find()
    (failure,) = place.wait_for(place.failures)
    assert words in failure["reason"]
    assert len(failure["reason"]) < 400


def test_a_command_that_is_not_there_is_one_event(tmp_path: Path) -> None:
    place = Place(tmp_path, "")
    place.config = replace(place.config, notify_command=["no-such-program-here"])
    place.journal = Journal(place.paths.events, Notifier(place.config, place.paths))
    place.find()
    (failure,) = place.wait_for(place.failures)
    assert "cannot be started" in failure["reason"]


def test_whatever_goes_wrong_before_it_starts_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
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
    code = (
        "import json, os, pathlib, sys, subprocess\n"
        "from ratchet.monitor import notify\nfrom ratchet.runs import process as processes\n"
        "from ratchet.config import Config\n"
        "from ratchet.records.events import Journal\n"
        "from ratchet.records.paths import SessionPaths\n"
        "processes.adopt_orphans()\n"
        "subprocess.Popen(['sleep', '3600'], start_new_session=True)\n"
        "paths = SessionPaths('night', pathlib.Path(sys.argv[1]))\n"
        "notifier = notify.Notifier(Config(**json.loads(sys.argv[2])), paths)\n"
        "journal = Journal(paths.events, notifier)\n"
        "facts = json.loads(sys.argv[3])\n"
        "journal.append(facts.pop('event'), **{k: v for k, v in facts.items() if k != 'time'})\n"
        "print(processes.kill_descendants())\n"
    )
    given = [json.dumps(to_json_values(place.config)), json.dumps(verdict(290, 1, "KEEP"))]
    done = subprocess.run(
        [sys.executable, "-c", code, str(place.root), *given],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == "1\n", "the sleeping process, and not the message"
    assert place.told() == []
    (said,) = place.wait_for(place.told)
    assert said["input"]["event"] == "champion"


def test_a_changed_input_is_told_by_whoever_starts_the_session(tmp_path: Path) -> None:
    place = Place(tmp_path, TELL)
    for _ in range(2):
        with (
            pytest.raises(FixedInputChangedError),
            watch_inputs(place.config, place.paths, owner=True),
        ):
            raise FixedInputChangedError("a.txt: expected 1, found 2")
    (said,) = place.wait_for(place.told)
    assert said["variables"]["RATCHET_EVENT"] == "alarm"
    assert "stopped in start: a.txt: expected 1, found 2" in said["input"]["message"]
    before = place.paths.events.read_bytes()
    with (
        pytest.raises(FixedInputChangedError),
        watch_inputs(place.config, place.paths, owner=False),
    ):
        raise FixedInputChangedError("a look alone changes nothing")
    assert place.paths.events.read_bytes() == before


def test_a_missing_program_is_said_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = SessionPaths("night", tmp_path)
    with watch_inputs(config(notify_command=["no-such-program-here"]), paths, owner=True):
        pass
    assert "no program 'no-such-program-here' here" in capsys.readouterr().err
    with watch_inputs(config(notify_command=["python", "x.py"]), paths, owner=True):
        pass
    assert capsys.readouterr().err == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mark", ["{event}", "{session}", "{message}"])
def test_marks_in_words_are_refused_and_the_variable_named(mark: str) -> None:
    variable = f"RATCHET_{mark[1:-1].upper()}"
    with pytest.raises(ConfigError, match=rf"notify_command: \{mark} is not .* {variable}"):
        config(notify_command=["curl", "-d", f"text={mark}"])
    assert config(notify_command=None).notify_command is None
