"""Folders of the package stand in an order: each imports from those before it only."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "workflow_scripts" / "ratchet"
ORDER = """base < records < judge < config < task < session < runs < manifest
    < integrity, monitor, steering, trackers < mirror < proposers < steps
    < logs, tournament, simulation < report < cli < interface"""
FLOOR = {
    name.strip(): floor for floor, names in enumerate(ORDER.split("<")) for name in names.split(",")
}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def imported(path: Path) -> set[str]:
    """Folders, or modules at the root, that a module imports, inside of functions too."""
    nodes = ast.walk(ast.parse(path.read_text()))
    named = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[1] for name in named if name.startswith("ratchet.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_come_from_folders_before(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    later = {name for name in imported(path) - {own} if FLOOR[name] >= FLOOR[own]}
    assert not later, f"{own} stands before {', '.join(sorted(later))}"
