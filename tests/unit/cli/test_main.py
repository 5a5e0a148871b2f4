"""The command ``ratchet``, and what all command lines share."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import FAKE, REPO
from helpers.autojudge_logs import CORPUS, HEADER, PACKAGES, call, history, needs_logs, row
from helpers.clones import Clone
from helpers.commands import Capsys, Patch
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


RERUNS = "ratchet audit --root again --run --repo clone"
KNOWN = f"expected a command ({', '.join(COMMANDS)}), found "
REFUSED = [
    ("ratchet", 64, KNOWN),
    ("ratchet --bogus", 64, KNOWN),
    ("ratchet bogus --help-me", 64, f"{KNOWN}'bogus'; see ratchet --help"),
    ("ratchet \x1b[2J", 64, KNOWN),
    ("ratchet stauts", 64, "did you mean 'status'? see ratchet --help"),
    ("ratchet audit --noise-sd 0", 64, "expected a positive number"),
    ("ratchet audit --noise-sd nan", 64, "expected a positive number"),
    ("ratchet audit --noise-sd 1 --replicates x", 64, "not allowed with"),
    ("ratchet audit --replicates missing.txt", 66, "cannot be read"),
    ("ratchet audit --metric bogus", 65, "line 1, column 1: expected a column"),
    ("ratchet audit --agent nobody", 64, "nobody"),
    ("ratchet audit --repo none", 66, "expected a git repository"),
    ("ratchet audit --bogus", 64, "see ratchet audit --help"),
    ("ratchet audit --force", 64, "--force needs a file to replace: add --html FILE"),
    ("ratchet audit --run", 64, "add --repo CLONE"),
    ("ratchet audit --seeds 3", 64, "--seeds is of re-runs: add --run"),
    ("ratchet audit --only abc", 64, "--only is of re-runs: add --run"),
    ("ratchet audit --dry-run", 64, "--dry-run is of re-runs: add --run"),
    (f"{RERUNS} --seeds 1", 64, "--seeds: expected at least 2, found 1"),
    (f"{RERUNS} --top 0", 64, "--top: expected at least 1, found 0"),
    (f"{RERUNS} --task nowhere", 66, "nowhere: holds no task.yaml"),
    (f"{RERUNS} --session ../x", 64, "a name of letters, digits"),
    (f"{RERUNS} --session night", 64, "found one with rounds of its own"),
    (f"{RERUNS} --config preset=cpu-tiny", 64, "--run: expected no preset"),
    (f"{RERUNS} --direction maximize", 64, "a task that is to maximize"),
    ("ratchet export --to xml", 64, "invalid choice"),
    ("ratchet export", 64, "required"),
    ("ratchet export night --results x --to csv", 64, "found both"),
    ("ratchet export --to csv --metric x", 64, "--metric is of a log: add --results FILE"),
    ("ratchet export --to mlflow --results x", 64, "add -o FOLDER"),
    ("ratchet export --to csv --results missing.tsv", 66, "cannot be read"),
    (f"ratchet export --to csv --results {shlex.quote(__file__)}", 65, "line 1, column 1"),
    ("ratchet export no-such-session --to csv", 66, "expected a started session"),
    ("ratchet power", 64, "one of the arguments"),
    ("ratchet power --noise-sd 1 --replicates 1 2", 64, "not allowed with"),
    ("ratchet power --noise-sd 0", 64, "positive"),
    ("ratchet power --noise-sd 1e300", 65, "noise floor"),
    ("ratchet power --replicates 1.0", 65, "at least 2"),
    ("ratchet power --replicates 1.0 inf", 65, "finite"),
    ("ratchet power --replicates 1.0 1.0", 65, "agree exactly"),
    ("ratchet power --replicates 1.0 x", 64, "float"),
    ("ratchet power --results nowhere.tsv", 66, "cannot be read"),
    ("ratchet power --noise-sd 1 --value 0", 64, "--value"),
    ("ratchet power --noise-sd 1 --effect 1%", 64, "--value"),
    ("ratchet power --noise-sd 1 --effect -1", 64, "--effect"),
    ("ratchet power --noise-sd 1 --effect big", 64, "--effect"),
    ("ratchet power --noise-sd 1 --alpha 0.5", 64, "--alpha"),
    ("ratchet power --noise-sd 1 --power 0.04", 64, "--power"),
    ("ratchet power --noise-sd 1 --seed -1", 64, "--seed"),
    ("ratchet power --noise-sd 1 --plot curves.pdf", 64, ".svg, .png, .html"),
    ("ratchet power --noise-sd 1 --experiments 0", 64, "--experiments: expected 1 to 5000"),
    ("ratchet power --noise-sd 1 --experiments 5001", 64, "--experiments: expected 1 to 5000"),
    ("ratchet power --noise-sd 1 --sessions 1", 64, "--sessions: expected at least 2"),
    ("ratchet power --session night", 66, "snakemake --cores 1 --config session=night"),
    ("ratchet program", 64, "new|check|update"),
    ("ratchet program other", 64, "invalid choice"),
    ("ratchet program check nowhere.md --config task=tasks/fake", 66, "nowhere.md: cannot be read"),
    ("ratchet program update", 66, "expected a started session, found none; run one"),
    ("ratchet program new --output /dev/null/x --config task=tasks/fake", 74, "cannot be written"),
    ("ratchet report night --results r.tsv", 64, "expected a session or --results, found both"),
    ("ratchet report --run-log run.log", 64, "--run-log is of a log: add --results FILE"),
    ("ratchet report night --noise-sd 1", 64, "--noise-sd is of a log: add --results FILE"),
    ("ratchet report --force", 64, "--force needs a file to replace: add -o FILE"),
    ("ratchet report --results r.tsv --noise-sd 0", 64, "expected a positive number, found 0.0"),
    ("ratchet report --results r.tsv --mode guaranteed", 64, "invalid choice: 'guaranteed'"),
    ("ratchet report --results none.tsv", 66, "cannot be read"),
    ("ratchet report --results crashes.tsv", 65, "expected a row with a value of "),
    ("ratchet report --results results.tsv --run-log none.log", 66, "cannot be read"),
    ("ratchet report --results results.tsv --repo .", 66, "expected a git repository"),
    ("ratchet simulate --world mars", 64, "--world: expected one of typical"),
    ("ratchet simulate --rules greedy,luck", 64, "--rules: expected one of greedy"),
    ("ratchet simulate --rules ' , '", 64, "--rules: expected names"),
    ("ratchet simulate --against luck", 64, "--against: expected one of"),
    ("ratchet simulate --runs 2", 64, "runs: expected at least 3"),
    ("ratchet simulate --runs 1000000", 64, "--runs: expected at most"),
    ("ratchet simulate --sessions 1", 64, "sessions: expected at least 2"),
    ("ratchet simulate --sessions 100001", 64, "--sessions: expected at most"),
    ("ratchet simulate --noise-sd -1", 64, "noise sd: expected above 0"),
    ("ratchet simulate --noise-sd nan", 64, "noise sd: expected above 0"),
    ("ratchet simulate --seed -1", 64, "seed: expected 0 or above"),
    ("ratchet simulate --baseline 0", 64, "baseline runs: expected at least 1"),
    ("ratchet simulate --runs 12 --baseline 12", 64, "runs: expected at least 13"),
    ("ratchet simulate --jobs 0", 64, "--jobs: expected 1 to"),
    ("ratchet simulate --scale guess", 64, "invalid choice"),
    ("ratchet simulate 'extra\nline'", 64, "unrecognized arguments"),
    ("ratchet status", 66, "run one: snakemake --cores 1"),
    ("ratchet status ../night", 66, "results/../night: expected a session with events"),
    ("ratchet status --tsv", 64, "--tsv"),
    ("autojudge --bogus", 64, "unrecognized"),
    ("autojudge --row x", 64, "invalid int"),
    ("autojudge --row 0", 64, "--row"),
    ("autojudge --row 99", 64, "--row"),
    ("autojudge --mode lucky", 64, "invalid choice"),
    ("autojudge --all --row 3", 64, "without --row and --run"),
    ("autojudge --strict --mode gain", 64, "--strict contradicts --mode gain"),
    ("autojudge --noise-sd 0", 64, "expected a positive number"),
    ("autojudge --noise-sd nan", 64, "expected a positive number"),
    ("autojudge --res x", 64, "unrecognized"),
    ("autojudge --line-price 1e-4", 64, "add --lines"),
    ("autojudge --lines 3 --line-price -1", 64, "at least 0"),
    ("autojudge --memory-price nan", 64, "at least 0"),
    ("autojudge --memory-price inf", 64, "at least 0"),
    ("autojudge --all --lines 3", 64, "goes without --all"),
    ("autojudge --lines 1.5", 64, "invalid int"),
    ("autojudge --agent nobody", 64, "nobody"),
    ("autojudge --mode guaranteed", 64, "fresh runs"),
    ("autojudge --mode guaranteed --all", 64, "snakemake --cores 1 --config mode=guaranteed"),
    ("autojudge --metric bleu", 65, "bleu"),
    ("autojudge --run no.log", 66, "cannot be read"),
    ("autojudge --results .", 66, "cannot be read"),
    ("autojudge --results 'a\0b'", 66, "cannot be read"),
    ("autosteer --bogus", 64, "unrecognized"),
    ("autosteer --mode lucky", 64, "invalid choice"),
    ("autosteer --mode auto --strategy explore", 64, "contradicts"),
    ("autosteer --num-suggestions 0", 64, "expected 1 to 20"),
    ("autosteer --num-suggestions 21", 64, "expected 1 to 20"),
    ("autosteer --agent nobody", 64, "nobody"),
    ("autosteer --res x", 64, "unrecognized"),
    ("autosteer --results none.tsv", 66, "cannot be read"),
    ("autosteer --results notes.tsv", 65, "only notes"),
    ("autosteer --repo .", 66, "leave out --repo"),
    ("autosteer --repo none", 66, "leave out --repo"),
    ("autoevolve evlve", 64, "expected a command (init, status"),
    ("autoevolve statsu", 64, "found 'statsu'; did you mean 'status'? see autoevolve --help"),
    ("autoevolve --rounds x", 64, "invalid int value"),
    ("autoevolve --strategies agressive", 64, "did you mean 'aggressive'?"),
    ("autoevolve --rounds 0", 64, "evolve_rounds: expected at least 1, found 0"),
    ("autoevolve --gpus 0", 64, "--gpus: expected at least 1"),
    ("autoevolve --config rounds", 64, "expected KEY=VALUE"),
    ("autoevolve init --agents 2", 64, "expected --tag NAME"),
    ("autoevolve init --agents 99 --tag x", 64, "--agents: expected 1 to "),
    ("autoevolve init --tag x", 64, "--agents --strategies is required"),
    ("autoevolve init -n 1 -t a..b", 64, "session: expected a name"),
    ("autoevolve status", 66, "a tournament, found none; start one: autoevolve --strategies"),
    ("autoevolve leaderboard --tag x", 66, "expected a tournament, found none"),
    ("autoevolve export --format xml", 64, "invalid choice"),
    ("autoevolve pollinate", 66, "expected a tournament"),
    ("autoevolve cleanup --yes", 66, "expected a tournament"),
]


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
    assert said in err
    first, second, *_ = [*words.split(), ""]
    name = f"{first} {second}" if first == "ratchet" and second in COMMANDS else first
    assert err == f"{name}: {one_line(err.removeprefix(f'{name}: '))}\n"
    assert sorted(place.rglob("*")) == before


# These two do not say which way is better.
NO_DIRECTION = ["AndrewK404__autoresearch-v2__1.tsv", "karpathy__autoresearch__1.tsv"]


@needs_logs
@pytest.mark.parametrize(
    ("words", "refused"),
    [
        ("autojudge --json", NO_DIRECTION),
        ("autojudge --all --json", NO_DIRECTION),
        ("autosteer --json", NO_DIRECTION),
        ("ratchet audit --json", NO_DIRECTION),
        ("ratchet report --json -o page.html", NO_DIRECTION),
    ],
)
def test_each_collected_log_is_answered_or_refused_with_a_place(
    tmp_path: Path, capsys: Capsys, monkeypatch: Patch, words: str, refused: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    logs = sorted((CORPUS / "sessions").iterdir())
    assert len(logs) == 34
    codes = {}
    for path in logs:
        codes[path.name] = call(words, "--results", path)
        out, err = capsys.readouterr()
        if codes[path.name] == 65:
            assert "line" in err and "column" in err, path.name
            continue
        assert codes[path.name] in (0, 1, 2), (path.name, err)
        found = json.loads(out)
        for change in found.get("changes", []):
            assert 0 <= change["better"] <= 1, path.name
        if words.startswith("ratchet report"):
            page = Path("page.html").read_text()
            assert len(page) < 2_500_000, path.name
            assert "not confirmed" in page or "Nothing kept" in page, path.name
    assert [name for name, code in codes.items() if code == 65] == refused
