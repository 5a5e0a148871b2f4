"""What a step's result depends on: the modules it imports, followed to the end."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from helpers import REPO
from ratchet.steps import plan
from ratchet.steps.plan import _module_path, _part, code_digest, imported_modules

PACKAGE = REPO / "workflow_scripts" / "ratchet"


def parsed(source: str) -> set[str]:
    """The same as :func:`imported` by Python's own parser, which is slow."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ratchet"):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {str(node.module)} - {"ratchet"}
        elif isinstance(node, ast.Import):
            names |= {a.name for a in node.names if a.name.startswith("ratchet.")}
    return names


def test_imports_are_read_as_python_reads_them() -> None:
    sources = {path: path.read_text() for path in PACKAGE.rglob("*.py")}
    assert len(sources) > 100
    for path, source in sources.items():
        assert set(imported_modules(source)) == parsed(source), path


@pytest.mark.parametrize(
    "source",
    [
        "from ratchet import a\n",
        "from ratchet import a, b as c\n",
        "def f():\n    from ratchet.a import b  # slow\n",
        "from ratchet.a import (\n    b,  # with a comma, here\n    c as d,\n)\n",
        "import ratchet.a\nimport os\nfrom os import path\n",
        "if x:\n\tfrom ratchet.a import b\n",
    ],
)
def test_every_form_of_an_import_is_read(source: str) -> None:
    assert set(imported_modules(source)) == parsed(source) != set()


def test_digests_follow_imports() -> None:
    judge = code_digest("ratchet.steps.judge")
    assert judge != code_digest("ratchet.report.session_report")
    assert judge == code_digest("ratchet.steps.judge")


def test_an_edit_far_down_changes_the_digest_of_what_rests_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "ratchet"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(plan, "__file__", str(copy / "steps" / "plan.py"))
    names = ("ratchet.steps.judge", "ratchet.report.session_report")

    def digests() -> dict[str, str]:
        code_digest.cache_clear()
        _part.cache_clear()
        return {name: code_digest(name) for name in names}

    try:
        before = digests()
        edited = copy / "judge" / "judge.py"
        edited.write_text(edited.read_text() + "\n# new\n")
        after = digests()
        assert before["ratchet.steps.judge"] != after["ratchet.steps.judge"]
        style = next((copy / "report").glob("*.css"))
        style.write_text(style.read_text() + "\n")
        styled = digests()
        assert styled["ratchet.report.session_report"] != after["ratchet.report.session_report"]
        assert styled["ratchet.steps.judge"] == after["ratchet.steps.judge"]
    finally:
        code_digest.cache_clear()
        _part.cache_clear()


def covered(*modules: str) -> set[str]:
    todo, seen = list(modules), set()
    while todo:
        path = _module_path(PACKAGE, todo.pop())
        if path is None or path in seen:
            continue
        seen.add(path)
        todo += imported_modules(path.read_text())
    return {str(path.relative_to(PACKAGE)) for path in seen}


def test_the_judge_rests_on_its_core_and_not_on_the_report() -> None:
    found = covered("ratchet.steps.judge")
    assert {"judge/judge.py", "judge/effects.py", "steps/judge.py", "records/records.py"} <= found
    others = ("report/", "runs/", "proposers/", "monitor/")
    assert not any(name.startswith(others) for name in found)
    assert "steps/steer.py" not in found
    page = covered("ratchet.report.session_report")
    assert {"report/render.py", "report/facts.py", "report/figures.py"} <= page
