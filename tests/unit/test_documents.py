"""The documents: what they name exists, and the commands that they show run.

A fenced block of `sh` or `console` is run in a copy of the checkout with a finished
session, unless a comment before it says what it needs that is not there:
``<!-- needs: a GPU -->``.  Those blocks are parsed like all others.
"""

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from helpers import FAKE, REPO
from helpers.autojudge_logs import call
from helpers.boxes import Box
from ratchet.config import Strategy

BIN = Path(sys.executable).parent
MOST_README_LINES = 150
FENCE = re.compile(
    r"(?:^<!-- needs: (?P<needs>[^\n]+?) -->\n)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.M | re.S,
)
SHELLS = ("sh", "console")
VERDICTS = {"autojudge": 2, "ratchet try": 2, "ratchet doctor": 1, "ratchet program check": 1}
VERDICTS["ratchet finalize"] = 1
"""Highest exit status that is an answer and not an error; 0 for all other commands."""
PACKAGE = REPO / "workflow_scripts" / "ratchet"
FOLDERS = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
FOLDERS |= {"config", "docs", "envs", "profiles", "rules", "tasks", "tests", "workflow_scripts"}
FOLDERS |= {".ci", ".devcontainer"}
SESSION = {
    **{"task": "tasks/fake", "rounds": 2, "candidates": 4, "budget_steps": 5},
    **{"baseline_replicates": 2, "confirm_replicates": 2},
}


class Page:
    """A page of the documents: its prose, its inline code and its blocks."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path.relative_to(REPO))
        self.text = path.read_text()
        self.prose = FENCE.sub("", self.text)
        self.spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", self.prose)]
        self.blocks = [Block(self, found) for found in FENCE.finditer(self.text)]

    @property
    def anchors(self) -> set[str]:
        """Anchors of the headings, as GitHub makes them."""
        headings = re.findall(r"^#+ +(.+)$", self.prose, re.M)
        words = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
        return {heading.strip().replace(" ", "-") for heading in words}


class Block:
    """A fenced block; ``needs`` says what it takes to run it, if that is not here."""

    def __init__(self, page: Page, found: re.Match[str]) -> None:
        self.needs, self.language, self.text = found.group("needs", "language", "text")
        self.place = f"{page.name}:{page.text.count(chr(10), 0, found.start('language')) + 1}"

    @property
    def commands(self) -> list[str]:
        """Lines to type: all of a script, those after a prompt in a dialogue."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        return [line for line in lines if shlex.split(line, comments=True)]


PAGES = [
    Page(path)
    for pattern in (
        "*.md",
        "docs/*.md",
        "docs/examples/*/README.md",
        "config/README.md",
        "tasks/*/README.md",
        "workflow_scripts/ratchet/skill/*.md",
        "workflow_scripts/ratchet/skill/references/*.md",
    )
    for path in sorted(REPO.glob(pattern))
]
BLOCKS = [block for page in PAGES for block in page.blocks]
SHOWN = [block for block in BLOCKS if block.language in SHELLS]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def calls(program: str) -> Iterator[tuple[str, list[str]]]:
    """Every call of a program on any page: place and words, its own name left out."""
    shown = [(block.place, command) for block in SHOWN for command in block.commands]
    shown += [(page.name, span) for page in PAGES for span in page.spans]
    for place, text in shown:
        for part in re.split(r"&&|\|\||[|;()]", text):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:
                continue
            if words and words[0].endswith(f"venv-dev/bin/{program}"):
                words[0] = program
            # `docker run ... IMAGE COMMAND` holds calls too.
            if program in words and words[0] in (program, "docker"):
                yield place, words[words.index(program) + 1 :]


@cache
def options(*command: str) -> frozenset[str]:
    """Options of a command, as its help lists them."""
    if command == ("snakemake",):
        shown = type_in(REPO, "snakemake --help").stdout
    else:
        with contextlib.redirect_stdout(io.StringIO()) as stream:
            assert call(" ".join(command), "--help") == 0
        shown = stream.getvalue()
    return frozenset(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", shown))


def check_call(place: str, words: list[str], *command: str) -> None:
    """Options of a call, and settings after its ``--config``, exist."""
    given = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert given <= options(*command), f"{place}: {command} {sorted(given)}"
    after = False
    for word in words:
        if word.startswith("-"):
            after = word == "--config"
        elif after and "=" in word:
            assert word.split("=")[0] in config_keys(), f"{place}: {word}"


@cache
def schema_keys(path: Path) -> frozenset[str]:
    found = yaml.safe_load(path.read_text())["properties"]
    inner = [field.get("properties", {}) for field in found.values()]
    return frozenset(found).union(*inner)


def config_keys() -> frozenset[str]:
    return schema_keys(REPO / "config" / "schema.yaml")


def task_keys() -> frozenset[str]:
    return schema_keys(PACKAGE / "task" / "task.schema.yaml")


def named(pattern: str, *paths: Path) -> set[str]:
    """What the lines of files define."""
    return {name for path in paths for name in re.findall(pattern, path.read_text(), re.M)}


def test_the_readme_is_short() -> None:
    assert len((REPO / "README.md").read_text().splitlines()) <= MOST_README_LINES


def test_every_page_is_linked() -> None:
    linked = {
        (page.path.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)#:\s]+)[^)]*\)", page.text)
    }
    lonely = [path.name for path in REPO.glob("docs/*.md") if path not in linked]
    assert not lonely


@each_page
def test_links_lead_somewhere(page: Page) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.prose):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.path.parent / name).resolve() if name else page.path
        assert path.exists(), target
        assert not anchor or anchor in Page(path).anchors, target


@each_page
def test_files_that_are_named_exist(page: Page) -> None:
    for span in page.spans:
        if re.fullmatch(r"[\w.-]+(/[\w.*-]+)+/?", span) and span.split("/")[0] in FOLDERS:
            name = span.rstrip("/")
            assert any(list(root.glob(name)) for root in (REPO, PACKAGE)), name


@pytest.mark.parametrize("program", ["ratchet", "autojudge", "autosteer", "autoevolve"])
def test_commands_and_their_options_exist(program: str) -> None:
    for place, words in calls(program):
        command = [program]
        while words and re.fullmatch(r"[a-z]+", words[0]) and program in ("ratchet", "autoevolve"):
            command.append(words.pop(0))
            if command[1:] != ["program"]:
                break
        if command != ["ratchet"] or words:  # more than the program's name
            check_call(place, words, *command)


def test_calls_of_snakemake_are_possible() -> None:
    rules = named(r"^rule (\w+):", *REPO.glob("rules/*.smk"))
    for place, words in calls("snakemake"):
        check_call(place, words, "snakemake")
        wanted = {
            word
            for before, word in zip(["", *words], words, strict=False)
            if re.fullmatch(r"[a-z_]+", word) and not before.startswith("--")
        }
        assert wanted <= rules, f"{place}: {wanted - rules}"


def test_targets_of_make_exist() -> None:
    targets = named(r"^([\w-]+):(?!=)", REPO / "Makefile")
    found = list(calls("make"))
    assert len(found) > 10
    for place, words in found:
        wanted = {word for word in words if re.fullmatch(r"[a-z][\w-]*", word)}
        assert wanted <= targets, f"{place}: {wanted - targets}"


def test_settings_that_are_named_exist() -> None:
    anything = config_keys() | task_keys() | set(Strategy.__struct_fields__) - {"name"}
    counted = 0
    for page in PAGES:
        for span in page.spans:
            if re.fullmatch(r"([a-z][a-z_]+=\S+ ?)+", span):
                names, known = {word.split("=")[0] for word in span.split()}, config_keys()
            elif found := re.fullmatch(r"([a-z_]+): [^:]+", span):
                names, known = {found[1]}, anything
            else:
                continue
            counted += 1
            assert names <= known, f"{page.name}: {span}"
    assert counted > 30


def test_blocks_say_their_language_and_can_be_read() -> None:
    for block in BLOCKS:
        assert block.language, block.place
        if block.language == "json":
            json.loads(block.text)
        if block.language == "yaml":
            found = set(yaml.safe_load(block.text))
            assert found <= config_keys() or found <= task_keys(), block.place


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a session needs, with a finished one, its log and a clone of it."""
    folder = tmp_path_factory.mktemp("documents") / "checkout"
    for name in ("rules", "config", "profiles", "envs", "tasks", "workflow_scripts"):
        ignored = shutil.ignore_patterns("__pycache__", "data")
        shutil.copytree(REPO / name, folder / name, ignore=ignored)
    shutil.copytree(REPO / "docs/examples", folder / "docs/examples")
    shutil.copy(REPO / "Snakefile", folder)
    shutil.copytree(FAKE, folder / "tasks/fake")
    path = folder / "config" / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **SESSION}))
    assert type_in(folder, "git init --quiet").returncode == 0
    Box(folder, {**SESSION, "seeds": "secret"}, harness=folder).play()
    shutil.copy(folder / "results/default/results.tsv", folder)
    shutil.copy(next(folder.glob("store/runs/*/*/run.log")), folder)
    done = type_in(folder, "git clone --quiet --branch ratchet/default results/default clone")
    assert done.returncode == 0, done.stdout
    return folder


def type_in(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Have a shell run a command as somebody would type it."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_commands_run(checkout: Path) -> None:
    shown = [block for block in SHOWN if block.needs is None]
    assert len(shown) > 15
    for block in shown:
        for command in block.commands:
            done = type_in(checkout, command)
            answers = [code for start, code in VERDICTS.items() if command.startswith(start)]
            told = f"{block.place}: {command}\n{done.returncode}: {done.stdout}"
            assert done.returncode <= max(answers, default=0), told


def test_the_graph_of_rules_is_that_of_snakemake(tmp_path: Path) -> None:
    (shown,) = (block for block in BLOCKS if block.language == "mermaid")
    command = f"snakemake -s {REPO}/Snakefile --rulegraph mermaid-js --config rounds=1"
    printed = type_in(tmp_path, command).stdout
    names = dict(re.findall(r"^\s*(id\d+)\[(\w+)\]", printed, re.M))
    edges = re.findall(r"^\s*(id\d+) --> (id\d+)", printed, re.M)
    # Snakemake leaves some edges out that follow from others, not always the same ones.
    known = set(re.findall(r"(\w+) --> (\w+)", shown.text))
    assert edges
    assert {(names[one], names[other]) for one, other in edges} <= known
    assert set(names.values()) == {rule for edge in known for rule in edge}


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.language == "python"], ids=lambda block: block.place
)
def test_python_runs(
    block: Block,
    finished: Box,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(finished.path)
    exec(compile(block.text, block.place, "exec"), {})
    assert capsys.readouterr().out
