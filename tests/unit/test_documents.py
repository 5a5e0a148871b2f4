"""The documents: what they name exists, and the commands that they show run.

A fenced block of `sh` or `console` is run in a copy of the checkout with a finished
session, unless a comment before it says what it needs that is not there:
``<!-- needs: a GPU -->``.  Those blocks are parsed like all others.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml

from ratchet.config import Strategy

REPO = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "config/README.md", "tasks/*/README.md")
    for path in REPO.glob(pattern)
)
MOST_README_LINES = 150

FENCE = re.compile(
    r"(?:^<!-- needs: (?P<needs>[^\n]+?) -->\n)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.M | re.S,
)
SHELLS = ("sh", "console")
PROGRAMS = ("ratchet", "autojudge", "autosteer", "autoevolve")
VERDICTS = {"autojudge": 2, "ratchet try": 2, "ratchet doctor": 1, "ratchet program check": 1}
"""Highest exit status that is an answer and not an error; 0 for all other commands."""

TOP = {"config", "docs", "envs", "profiles", "rules", "tasks", "tests", ".ci", ".devcontainer"}
PACKAGE = Path("workflow_scripts") / "ratchet"
FOLDERS = {"base", "records", "judge", "task", "runs", "integrity", "steering", "proposers"} | {
    "steps", "monitor", "report", "logs", "tournament", "simulation", "cli", "workflow_scripts",
}  # fmt: skip
SESSION = {
    "task": "tasks/fake",
    "rounds": 2,
    "candidates": 4,
    "budget_steps": 5,
    "baseline_replicates": 2,
    "confirm_replicates": 2,
}


# ------------------------------------------------------------------ reading pages


@dataclass(frozen=True)
class Block:
    """A fenced block; ``needs`` says what it takes to run it, if that is not here."""

    page: Path
    line: int
    language: str
    text: str
    needs: str | None

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(REPO)}:{self.line}"

    def commands(self) -> list[str]:
        """Lines to type: all of a script, those after a prompt in a dialogue."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        return [line for line in lines if shlex.split(line, comments=True)]


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        yield Block(page, line, found["language"], found["text"], found["needs"])


def prose(page: Path) -> str:
    """A page without its blocks."""
    return FENCE.sub("", page.read_text())


def spans(page: Path) -> list[str]:
    """Inline code of a page, on one line each."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]


ALL_BLOCKS = [block for page in PAGES for block in blocks(page)]


def calls(program: str) -> Iterator[tuple[str, list[str]]]:
    """Every call of a program on any page: place and words, its own name left out."""
    shown = [
        (block.place, command)
        for block in ALL_BLOCKS
        if block.language in SHELLS
        for command in block.commands()
    ]
    for page in PAGES:
        shown += [(str(page.relative_to(REPO)), span) for span in spans(page)]
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


def settings(words: list[str]) -> Iterator[str]:
    """Names of settings after ``--config``."""
    after = False
    for word in words:
        if word.startswith("-"):
            after = word == "--config"
        elif after and "=" in word:
            yield word.split("=")[0]


# ----------------------------------------------------------------- what there is


@cache
def options(*command: str) -> frozenset[str]:
    """Options of a command, as its help lists them."""
    program, *rest = command
    done = subprocess.run(
        [BIN / program, *rest, "--help"], capture_output=True, text=True, check=True
    )
    return frozenset(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", done.stdout))


@cache
def schema_keys(path: Path) -> frozenset[str]:
    found = yaml.safe_load(path.read_text())["properties"]
    inner = [field.get("properties", {}) for field in found.values()]
    return frozenset(found).union(*inner)


def config_keys() -> frozenset[str]:
    return schema_keys(REPO / "config" / "schema.yaml")


def task_keys() -> frozenset[str]:
    (path,) = (REPO / "workflow_scripts").rglob("task.schema.yaml")
    return schema_keys(path)


def strategy_keys() -> frozenset[str]:
    return frozenset(Strategy.__struct_fields__) - {"name"}


def rules() -> set[str]:
    text = "\n".join(path.read_text() for path in REPO.glob("rules/*.smk"))
    return set(re.findall(r"^rule (\w+):", text, re.M))


def targets() -> set[str]:
    text = (REPO / "Makefile").read_text()
    return set(re.findall(r"^([\w-]+):(?!=)", text, re.M))


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+)$", prose(page), re.M)
    words = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in words}


# -------------------------------------------------------------------------- tests


def test_the_readme_is_short() -> None:
    assert len((REPO / "README.md").read_text().splitlines()) <= MOST_README_LINES


def test_every_page_is_linked() -> None:
    linked = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)#:\s]+)[^)]*\)", page.read_text())
    }
    lonely = [path.name for path in REPO.glob("docs/*.md") if path not in linked]
    assert not lonely


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_files_that_are_named_exist(page: Path) -> None:
    named = [span for span in spans(page) if re.fullmatch(r"[\w.-]+(/[\w.*-]+)+/?", span)]
    for name in (span.rstrip("/") for span in named):
        if name.split("/")[0] in TOP | FOLDERS:
            assert any(list(root.glob(name)) for root in (REPO, REPO / PACKAGE)), name


@pytest.mark.parametrize("program", PROGRAMS)
def test_commands_and_their_options_exist(program: str) -> None:
    for place, words in calls(program):
        command = [program]
        while words and re.fullmatch(r"[a-z]+", words[0]) and program in ("ratchet", "autoevolve"):
            command.append(words.pop(0))
            if command[1:] != ["program"]:
                break
        if command == ["ratchet"] and not words:
            continue  # the program's name alone
        given = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert given <= options(*command), f"{place}: {command} {sorted(given)}"
        unknown = set(settings(words)) - config_keys()
        assert not unknown, f"{place}: {unknown}"


def test_calls_of_snakemake_are_possible() -> None:
    known = options("snakemake")
    for place, words in calls("snakemake"):
        given = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert given <= known, f"{place}: {given - known}"
        unknown = set(settings(words)) - config_keys()
        assert not unknown, f"{place}: {unknown}"
        wanted = {
            word
            for before, word in zip(["", *words], words, strict=False)
            if re.fullmatch(r"[a-z_]+", word) and not before.startswith("--")
        }
        assert wanted <= rules(), f"{place}: {wanted - rules()}"


def test_targets_of_make_exist() -> None:
    found = list(calls("make"))
    assert len(found) > 10
    for place, words in found:
        wanted = {word for word in words if re.fullmatch(r"[a-z][\w-]*", word)}
        assert wanted <= targets(), f"{place}: {wanted - targets()}"


def test_settings_that_are_named_exist() -> None:
    anything = config_keys() | task_keys() | strategy_keys()
    counted = 0
    for page in PAGES:
        for span in spans(page):
            if re.fullmatch(r"([a-z][a-z_]+=\S+ ?)+", span):
                names, known = {word.split("=")[0] for word in span.split()}, config_keys()
            elif found := re.fullmatch(r"([a-z_]+): [^:]+", span):
                names, known = {found[1]}, anything
            else:
                continue
            counted += 1
            assert names <= known, f"{page.relative_to(REPO)}: {span}"
    assert counted > 30


def test_settings_in_blocks_exist() -> None:
    for block in ALL_BLOCKS:
        if block.language == "json":
            json.loads(block.text)
        if block.language == "yaml":
            found = set(yaml.safe_load(block.text))
            assert found <= config_keys() or found <= task_keys(), block.place


def test_every_block_says_its_language() -> None:
    assert [block.place for block in ALL_BLOCKS if not block.language] == []


# ------------------------------------------------------------------- running them


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a session needs, with a finished one, its log and a clone of it."""
    folder = tmp_path_factory.mktemp("documents") / "checkout"
    for name in ("rules", "config", "profiles", "envs", "tasks", "workflow_scripts"):
        ignored = shutil.ignore_patterns("__pycache__", "data")
        shutil.copytree(REPO / name, folder / name, ignore=ignored)
    shutil.copy(REPO / "Snakefile", folder)
    shutil.copytree(REPO / "tests/data/tasks/fake", folder / "tasks/fake")
    path = folder / "config" / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **SESSION}))
    done = type_in(folder, "git init --quiet && snakemake --cores 1")
    assert done.returncode == 0, done.stdout
    session = folder / "results" / "default"
    shutil.copy(session / "results.tsv", folder)
    shutil.copy(next(folder.glob("store/runs/*/*/run.log")), folder)
    done = type_in(folder, "git clone --quiet --branch ratchet/default results/default clone")
    assert done.returncode == 0, done.stdout
    return folder


def type_in(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Have a shell run a command as somebody would type it."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def highest_answer(command: str) -> int:
    return max((most for start, most in VERDICTS.items() if command.startswith(start)), default=0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_commands_run(checkout: Path) -> None:
    shown = [block for block in ALL_BLOCKS if block.language in SHELLS and block.needs is None]
    assert len(shown) > 15
    for block in shown:
        for command in block.commands():
            done = type_in(checkout, command)
            assert done.returncode <= highest_answer(command), (
                f"{block.place}: {command}\n{done.returncode}: {done.stdout}"
            )


def test_the_graph_of_rules_is_that_of_snakemake(tmp_path: Path) -> None:
    (shown,) = (block for block in ALL_BLOCKS if block.language == "mermaid")
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
    "block", [b for b in ALL_BLOCKS if b.language == "python"], ids=lambda block: block.place
)
def test_python_runs(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block.text, block.place, "exec"), {})
    assert capsys.readouterr().out
