"""What the package imports is what it declares, in `pyproject.toml` and in the lock's source.

And what it ships beside Python is in the wheel.
"""

import ast
import os
import re
import shutil
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

from helpers.commands import printed

REPO = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
# Python of a rule file, which as a whole is no Python.
IMPORT = re.compile(r"^\s*(?:from|import) +([A-Za-z_]\w*)", re.MULTILINE)
# Made by `pip install`, so that these are their names in every environment.
DISTRIBUTIONS = {"git": "gitpython", "pynvml": "nvidia-ml-py", "re2": "google-re2"}


def plain(name: str) -> str:
    return re.split(r"[<>=!~\[; ]", name)[0].lower().replace("_", "-")


def imported() -> set[str]:
    """Top-level modules that code of this project imports, the standard library's left out."""
    found: set[str] = set()
    for path in (REPO / "workflow_scripts").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
            elif isinstance(node, ast.Call) and "import_module" in ast.dump(node.func):
                found |= {str(a.value) for a in node.args if isinstance(a, ast.Constant)}
    for path in (REPO / "Snakefile", *(REPO / "rules").glob("*.smk")):
        found |= set(IMPORT.findall(path.read_text()))
    return found - set(sys.stdlib_module_names) - {"ratchet"}


def distributions(modules: set[str]) -> set[str]:
    known = packages_distributions()
    return {
        DISTRIBUTIONS.get(name) or plain(known.get(name, [name])[0].replace("_", "-"))
        for name in modules
    }


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    declared = {plain(name) for name in PROJECT["dependencies"]}
    optional = PROJECT["optional-dependencies"].items()
    extra = {plain(name).split("-")[0] for _, names in optional for name in names}
    found = {name for name in imported() if name not in extra}
    # What Snakemake is made of comes with it.
    found = {"snakemake" if name.startswith("snakemake") else name for name in found}
    assert distributions(found) == declared


def test_the_locks_source_pins_all_that_is_declared() -> None:
    pinned: set[str] = set()
    for name in ("workflow.in", "bytelm.in"):
        lines = (REPO / "envs" / name).read_text().splitlines()
        pinned |= {plain(line) for line in lines if "==" in line}
    assert {plain(name) for name in PROJECT["dependencies"]} <= pinned


def test_no_lock_names_a_registry() -> None:
    for lock in (REPO / "envs").glob("*.lock"):
        assert "://" not in lock.read_text(), lock.name


def test_a_wheel_has_the_whole_skill_and_its_scripts_can_be_executed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(REPO / "workflow_scripts", source / "workflow_scripts", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / name, source)
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(tmp_path)!r})"
    printed([sys.executable, "-c", build], cwd=source)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {one.filename: one.external_attr >> 16 for one in archive.infolist()}
    for path in (REPO / "workflow_scripts/ratchet/skill").rglob("*"):
        if path.is_file():
            mode = packed[path.relative_to(REPO / "workflow_scripts").as_posix()]
            assert bool(mode & 0o111) == os.access(path, os.X_OK), path.name
