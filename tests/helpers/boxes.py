"""Boxes: folders of their own in which whole sessions run on a fake trainer."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from helpers import FAKE, REPO, player

SNAKEMAKE = str(Path(sys.executable).parent / "snakemake")
DEFAULTS = {
    "task": "tasks/fake",
    "rounds": 3,
    "budget_steps": 5,
    "confirm_replicates": 2,
    "certify": False,
    # Recorded runs are of declared changes.
    "proposer": "declared",
    # Two sessions of one task are compared, and share the store.
    "seeds": "public",
}


def git(folder: Path, *words: str) -> str:
    """What git prints, run as its user would, whoever that is here."""
    who = ["-c", "user.name=A", "-c", "user.email=a@localhost", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "--no-optional-locks", "-C", str(folder), *who, *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
    )
    return done.stdout


def heed_signals() -> None:
    """Be ended by signals as from a terminal, also where whoever runs the tests ignores them."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@dataclass
class Box:
    """A working folder with a task of its own."""

    path: Path
    settings: dict[str, object] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    harness: Path = REPO
    clock: player.Clock = time.time
    backend: Callable[[], contextlib.AbstractContextManager[None]] | None = None
    """What stands in for training where a session is played; none trains."""
    name: str = "default"

    @property
    def session(self) -> Path:
        return self.path / "results" / self.name

    def beside(self, name: str, **settings: object) -> "Box":
        """Another session of the same folder."""
        return replace(self, name=name, settings={**self.settings, "session": name, **settings})

    def command(self, *options: str, **settings: object) -> list[str]:
        values = {**DEFAULTS, **self.settings, **settings}
        pairs = [f"{key}={'null' if value is None else value}" for key, value in values.items()]
        cores = [] if "--cores" in options else ["--cores", "1"]
        snakefile = str(self.harness / "Snakefile")
        return [SNAKEMAKE, "-s", snakefile, *cores, *options, "--config", *pairs]

    def run(self, *options: str, check: bool = True, **settings: object) -> str:
        """Run Snakemake to its end; returns what it printed."""
        done = subprocess.run(
            self.command(*options, **settings),
            cwd=self.path,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        text = done.stdout + done.stderr
        assert not check or done.returncode == 0, text
        self.status = done.returncode
        return text

    def play(
        self,
        first: str = player.BASELINE,
        last: str = player.REPORT,
        check: bool = True,
        **settings: object,
    ) -> str:
        """Play the session in this process, without Snakemake; returns what was printed."""
        return self._play(lambda own: own.session(first, last), check, settings)

    def play_tournament(self, check: bool = True, **settings: object) -> str:
        """Play a tournament in this process; returns what was printed."""
        return self._play(player.Player.tournament, check, settings)

    def _play(
        self, game: Callable[[player.Player], int], check: bool, settings: Mapping[str, object]
    ) -> str:
        values = {**DEFAULTS, **self.settings, **settings}
        own = player.Player(self.harness, values, self.clock)
        backend = self.backend() if self.backend else contextlib.nullcontext()
        with player.inside(self.path, self.environment), backend:
            self.status = game(own)
        assert not check or self.status == 0, own.said.getvalue()
        return own.said.getvalue()

    def start(
        self, *options: str, said: Path = Path(os.devnull), **settings: object
    ) -> subprocess.Popen[bytes]:
        """Start Snakemake in a process group of its own and do not wait; it writes to ``said``."""
        with said.open("ab") as stream:
            return subprocess.Popen(
                self.command(*options, **settings),
                cwd=self.path,
                env={**os.environ, **self.environment},
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                preexec_fn=heed_signals,
            )

    def events(self, kind: str | None = None) -> list[dict]:
        path = self.session / "events.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        found = []
        for line in lines:
            with contextlib.suppress(ValueError):  # the torn line that a kill may leave
                found.append(json.loads(line))
        return [event for event in found if kind in (None, event["event"])]

    def json(self, name: str) -> dict:
        return json.loads((self.session / name).read_text())

    def rulings(self) -> list[dict]:
        found = []
        for path in sorted((self.session / "rounds").glob("*/verdict.json")):
            found += json.loads(path.read_text())["rulings"]
        return found

    def state(self) -> dict[str, str]:
        """Digest of everything that must be equal in equal sessions."""
        files = [self.session / "results.tsv", *self.session.rglob("*.json")]
        kept = {
            str(path.relative_to(self.path)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
            if "limits" not in path.parts and path.name != "report.json"
        }
        return {**kept, "runs": " ".join(self.runs()), "branch": self.git("rev-parse", "--all")}

    def runs(self) -> list[str]:
        return sorted(path.parent.name for path in (self.path / "store/runs").glob("*/*/run.json"))

    def git(self, *arguments: str) -> str:
        return git(self.session, *arguments)

    def processes(self) -> dict[int, str]:
        """Processes that work in the box, with their command lines."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if Path(str((process / "cwd").readlink())).is_relative_to(self.path):
                    line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(process.name)] = line
        return found

    def trainers(self) -> dict[int, str]:
        """Training processes, and their supervisors, that belong to this box."""
        found = self.processes().items()
        return {pid: line for pid, line in found if "train.py" in line or "superv" in line}

    def wait_for(self, condition: Callable[[], Any], seconds: float = 600.0) -> Any:
        """What a condition gives at last: in a moment, or much later on a busy machine."""
        limit = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < limit, "the session did not get that far"
            time.sleep(0.02)
        return found


def make_box(path: Path, **settings: object) -> Box:
    path.mkdir(parents=True)
    shutil.copytree(FAKE, path / "tasks" / "fake")
    return Box(path.resolve(), dict(settings))
