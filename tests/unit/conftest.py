"""Fixtures of the embedded task: its modules, as a run imports them."""

from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from helpers import BYTELM, import_modules
from helpers.autojudge_logs import history

# Modules and folders that take more than one and a half seconds: they start processes or
# simulate.  `make test-fast` leaves them out, `make test` runs everything.
SLOW = (
    "cli/test_audit", "cli/test_main", "cli/test_power", "cli/test_report", "cli/test_status",
    "integrity/test_verify", "judge/test_effects", "judge/test_judge", "logs/test_reader",
    "logs/test_smoothing", "monitor/test_doctor", "monitor/test_notify",
    "proposers/test_agent", "report/test_render", "runs/sandbox", "runs/test_evaluator",
    "runs/test_hardware", "runs/test_process", "runs/test_run", "runs/test_seed_hook",
    "runs/test_supervisor", "simulation/", "steps/test_plan",
    "tasks/", "test_documents",
)  # fmt: skip
HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of slow modules as such."""
    for item in items:
        if item.path.is_relative_to(HERE) and str(item.path.relative_to(HERE)).startswith(SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def modules() -> dict[str, ModuleType]:
    return import_modules(BYTELM, ("channel", "autograd", "functions", "prepare", "lessons"))


@pytest.fixture(scope="session")
def ag(modules: dict[str, ModuleType]) -> SimpleNamespace:
    """Tensors and functions of tensors under one name."""
    return SimpleNamespace(**{**vars(modules["functions"]), **vars(modules["autograd"])})


@pytest.fixture(scope="session")
def prepare(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["prepare"]


@pytest.fixture(scope="session")
def data(prepare: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bytelm") / "data with space"
    assert prepare.main(["--out", str(folder)]) == 0
    return folder


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "results.tsv"
    path.write_text(history())
    return path
