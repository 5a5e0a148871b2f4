"""The command ``ratchet``, and what all command lines share."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import DATA, FAKE, REPO
from helpers.autojudge_logs import CORPUS, HEADER, PACKAGES, call, history, needs_logs, row
from helpers.clones import Clone
from helpers.commands import Capsys, Patch
from helpers.pages import undraw
from ratchet import __version__
from ratchet.base.errors import DataError
from ratchet.base.text import one_line
from ratchet.cli import autoevolve
from ratchet.cli.main import COMMANDS, OutputError, main, run_command

WORDS = [
    *(f"ratchet {name}" for name in COMMANDS),
    *(f"ratchet program {name}" for name in ("new", "check", "update")),
    *("autojudge", "autosteer", "autoevolve"),
    *(f"autoevolve {name}" for name in autoevolve.COMMANDS),
]


@pytest.mark.parametrize("name", ["ratchet", "autojudge", "autosteer", "autoevolve"])
def test_version_and_help(capsys: Capsys, name: str) -> None:
    assert call(name, "--version") == 0
    out = capsys.readouterr().out
    assert out.replace(" (ratchet)", "") == f"{name} {__version__}\n"
    assert call(name, "--help") == 0
    shown = capsys.readouterr().out
    commands = {"ratchet": COMMANDS, "autoevolve": autoevolve.COMMANDS}.get(name, {})
    assert [each for each in commands if f"  {each}  " not in shown] == []


@pytest.mark.parametrize("words", WORDS)
def test_help_has_80_columns(capsys: Capsys, monkeypatch: Patch, words: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    first, *rest = words.split()
    assert call(words, "--help") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: {words} ")
    assert [line for line in shown.splitlines() if len(line) > 80] == []
    alone = len(rest) == (first == "ratchet")
    assert ("xit codes: 0" in shown) is alone
    assert call(words, "--bogus") == 64
    prefix = " ".join([first, *rest[:1]]) if first == "ratchet" else first
    assert capsys.readouterr().err.startswith(f"{prefix}: ")


def test_arguments_reach_the_command(capsys: Capsys, monkeypatch: Patch) -> None:
    assert call("ratchet power --noise-sd 1 --experiments 2 --sessions 2") == 0
    assert capsys.readouterr().out.startswith("noise floor: ±1\n")
    monkeypatch.setattr(sys, "argv", ["ratchet", "power", "--replicates", "1"])
    assert main() == 65


@pytest.mark.parametrize(
    ("module", "argv", "absent"),
    [
        ("main", ["--version"], "numpy scipy yaml vl_convert"),
        ("autojudge", ["--all", "--row", "1"], "numpy scipy pandas yaml"),
        ("autosteer", ["-q", "--results", "LOG"], "scipy git yaml pandas"),
    ],
)
def test_nothing_is_loaded_before_it_is_needed(
    log: Path, module: str, argv: list[str], absent: str
) -> None:
    words = [str(log) if word == "LOG" else word for word in argv]
    code = (
        f"import sys; from ratchet.cli.{module} import main; main({words!r}); "
        f"sys.exit(bool(set({absent!r}.split()) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(PACKAGES)})
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataError("line 3:\nbad"), 65, "name: line 3: bad\n"),
        (OutputError("disk"), 74, "name: disk\n"),
        (KeyboardInterrupt(), 130, ""),
        (SystemExit(0), 0, ""),
        (SystemExit(None), 0, ""),
        (ZeroDivisionError("x"), 70, "name: internal error, ZeroDivisionError: x; tell us\n"),
    ],
)
def test_failures(capsys: Capsys, error: BaseException, code: int, said: str) -> None:
    def act(_: object) -> int:
        raise error

    assert run_command("name", act, [], hint="tell us") == code
    assert capsys.readouterr() == ("", said)


def test_a_closed_pipe_is_74() -> None:
    code = "import sys; from ratchet.cli.main import main; sys.exit(main(['--help']))"
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PYTHONPATH": str(PACKAGES)},
    )
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    assert child.wait() == 74
    assert b"Traceback" not in child.stderr.read()
    child.stderr.close()


def refusals() -> list[tuple[str, int, str]]:
    """What command lines refuse: the words, the exit code, and what is said of them."""
    lines = (DATA / "refusals.tsv").read_text().splitlines()[1:]
    found = [line.encode().decode("unicode_escape").split("\t") for line in lines]
    return [(words, int(code), said) for words, code, said in found]


REFUSED = refusals()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with logs, a task, a clone and, below ``again``, a session."""
    folder = tmp_path_factory.mktemp("refused")
    (folder / "results.tsv").write_text(history())
    (folder / "crashes.tsv").write_text(HEADER + row(1, "0.000000", "crash"))
    (folder / "notes.tsv").write_text(HEADER + row(0, "-", "note"))
    shutil.copytree(FAKE, folder / "tasks" / "fake")
    Clone(folder / "clone").commit({"train.py": "a = 1"})
    night = folder / "again" / "results" / "night"
    night.mkdir(parents=True)
    (night / "manifest.json").write_text("{}")
    return folder


@pytest.mark.parametrize(("words", "code", "said"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_are_one_line_and_write_nothing(
    place: Path, capsys: Capsys, monkeypatch: Patch, words: str, code: int, said: str
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("RATCHET_HARNESS", str(REPO))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(place.parent))
    before = sorted(place.rglob("*"))
    assert call(words) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said.replace("{commands}", ", ".join(COMMANDS)) in err
    first, second, *_ = [*words.split(), ""]
    name = f"{first} {second}" if first == "ratchet" and second in COMMANDS else first
    assert err == f"{name}: {one_line(err.removeprefix(f'{name}: '))}\n"
    assert sorted(place.rglob("*")) == before


ASKED = {
    "AndrewK404__autoresearch-v2__1.tsv",
    "karpathy__autoresearch__1.tsv",
    "soulmatchdk__autoresearch-mlx-mem__1.tsv",
}
PROSE_AT_THE_END = {"giladresisi__autoresearch__1.tsv", "giladresisi__autoresearch__2.tsv"}


@needs_logs
@pytest.mark.parametrize(
    ("words", "refused"),
    [
        ("autojudge --json", ASKED | PROSE_AT_THE_END),
        ("autojudge --all --json", ASKED),
        ("autosteer --json", ASKED),
        ("ratchet audit --json", ASKED),
        ("ratchet report --json -o page.html", ASKED),
    ],
)
def test_each_collected_log_is_answered_or_refused_with_a_place(
    tmp_path: Path, capsys: Capsys, monkeypatch: Patch, words: str, refused: set[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    logs = sorted((CORPUS / "sessions").iterdir())
    assert len(logs) == 34
    codes = {}
    for number, path in enumerate(logs):
        if number == 6:  # drawing the others too would take as long as all the rest
            undraw(monkeypatch)
        codes[path.name] = call(words, "--results", path)
        out, err = capsys.readouterr()
        if codes[path.name] == 65:
            assert "line" in err and "column" in err, path.name
            continue
        assert codes[path.name] in (0, 1, 2), (path.name, err)
        found = json.loads(out)
        for change in found.get("changes", []):
            assert 0 <= change["given_log"] <= 1, path.name
        if words.startswith("ratchet report"):
            page = Path("page.html").read_text()
            assert len(page) < 2_500_000, path.name
            assert "not confirmed" in page or "Nothing kept" in page, path.name
    assert {name for name, code in codes.items() if code == 65} == refused


SETTLED = b"run\tacc\tsize\tstatus\tchosen\n1\t0.5\t9\tok\tno\n2\t0.6\t8\tok\tyes\n"


def test_a_file_beside_the_log_settles_how_it_is_read(tmp_path: Path, capsys: Capsys) -> None:
    log, settled = tmp_path / "results.tsv", tmp_path / "ratchet.toml"
    log.write_bytes(SETTLED)
    assert call("autojudge --all --json --results", log) == 65
    assert "--status" in capsys.readouterr().err
    settled.write_text('status = ["ok=keep"]\nmetric = "size"\ndirection = "minimize"\n')
    assert call("autojudge --all --json --results", log) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["metric"], found["direction"], found["keeps"]) == ("size", "minimize", 1)
    # An option comes first.
    assert call("autojudge --all --json --metric acc --direction maximize --results", log) == 0
    assert json.loads(capsys.readouterr().out)["metric"] == "acc"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metrc = 'acc'", "found the key 'metrc'"),
        ("metric = 3", "metric: expected text"),
        ("direction = 'up'", "expected minimize or maximize, found 'up'"),
        ("status = 'ok=great'", "a status word and its meaning"),
        ("metric", "expected TOML"),
    ],
)
def test_a_file_beside_the_log_that_is_wrong_is_refused(
    tmp_path: Path, capsys: Capsys, text: str, said: str
) -> None:
    log = tmp_path / "results.tsv"
    log.write_bytes(SETTLED)
    (tmp_path / "ratchet.toml").write_text(text)
    assert call("autojudge --results", log) == 65
    assert said in capsys.readouterr().err
