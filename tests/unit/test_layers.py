"""Who may import whom: faces, stages, edge, core; and what the core may touch."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "workflow_scripts" / "ratchet"
SCRIPTS = PACKAGE.parent

CORE = {
    "",
    "errors",
    "codec",
    "records",
    "rulings",
    "proposals",
    "vocabulary",
    "tournaments",
    "code_lines",
    "canonical",
    "seeds",
    "needs",
    "runlog",
    "outcomes",
    "symptoms",
    "results_tsv",
    "steer",
    "suggestions",
    "advice",
    "brief",
    "attempts",
    "presets",
    "ceiling",
    "constraints",
    "patterns",
    "declared_values",
    "doctor",
    "outlook",
    "categories",
    "confirmation",
    "evaluation",
    "stopping",
    "status",
    "judge",
    "simulation",
    "integrity",
    "power",
    "smoothing",
    "chain",
    "audit",
    "reruns",
    "holding",
    "exports",
    "dialects",
}
# Records on the disk: beside the core, which may be handed what they read.
RECORDS = {"files", "paths", "history"}
EDGE = {
    "git",
    "templates",
    "program",
    "files",
    "paths",
    "store",
    "journal",
    "ownership",
    "notify",
    "manifest",
    "repo",
    "commits",
    "seal",
    "verify",
    "runner",
    "supervisor",
    "referee",
    "processes",
    "landlock",
    "command",
    "remote",
    "cell",
    "container",
    "image",
    "layout",
    "isolation",
    "gpu",
    "cgroups",
    "ending",
    "hooks",
    "hardware",
    "devices",
    "preset_files",
    "environment",
    "interpreters",
    "schema",
    "task",
    "tasks",
    "external",
    "caches",
    "surface",
    "uv_lock",
    "config",
    "strategies",
    "relay",
    "auditing",
    "worktrees",
    "proposers",
    "guard",
    "snakemake_hooks",
    "dependencies",
}
STAGES = {"stages"}
FACES = {"console", "live", "report", "entry", "placing", "cli", "logs_analysis"}
RANK = {name: rank for rank, names in enumerate((CORE, EDGE, STAGES, FACES)) for name in names}

# The core computes; it reads no file, clock, environment, process or global
# random state.
CORE_LIBRARIES = {"numpy", "scipy", "pandas", "msgspec", "re2"}
CORE_FORBIDDEN = {"os", "pathlib", "time", "subprocess", "io", "tempfile", "socket"}
FORBIDDEN_CALLS = {"open", "print", "input"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def area(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_module_has_its_layer() -> None:
    assert {area(path) for path in modules()} == set(RANK)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    for name in imported(path):
        root, *rest = name.split(".")
        if root != "ratchet":
            private = area(path) == "snakemake_hooks"
            assert root != "snakemake" or private, "only the rules see Snakemake"
            continue
        below = rest[0] if rest and rest[0] in RANK else ""
        assert RANK[below] <= RANK[area(path)], f"{path.name} imports {name}"


@pytest.mark.parametrize(
    "path",
    [p for p in modules() if area(p) in CORE],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_the_core_is_pure(path: Path) -> None:
    for name in imported(path):
        root = name.split(".")[0]
        assert root not in CORE_FORBIDDEN, f"{path.name} imports {name}"
        assert root != "random" or name == "random.Random", f"{path.name} imports {name}"
        known = {"ratchet", "__future__"} | CORE_LIBRARIES | sys.stdlib_module_names
        assert root in known, f"{path.name} imports {name}"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, f"{path.name} calls {node.func.id}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
            source = ast.unparse(node)
            global_state = source.startswith(("np.random.", "numpy.random."))
            allowed = source in ("np.random.default_rng", "np.random.Generator")
            assert not global_state or allowed, f"{path.name} uses {source}"


def test_scripts_are_thin() -> None:
    scripts = sorted(SCRIPTS.glob("*.py"))
    assert len(scripts) == 18
    for path in scripts:
        assert len(path.read_text().splitlines()) < 30, f"{path.name} does too much"
        assert all(n.startswith("ratchet.") for n in imported(path)), path.name
