"""What the package imports is what it declares, in `pyproject.toml` and in the lock's source."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

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
