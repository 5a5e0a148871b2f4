"""An engine, an image of this very source, and what they need; else the tests skip.

Read from the environment: ``RATCHET_TEST_BASE``, an image with apt's packages for
the Dockerfile to start from (``.ci/engine`` makes one), ``ENGINE``, and the programs
``RATCHET_TEST_COMPOSE`` and ``RATCHET_TEST_DEVCONTAINER``.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.commands import Patch, printed
from helpers.engines import IMAGE, REPO, Docker, once
from ratchet.runs.sandbox import sandbox
from ratchet.runs.sandbox.container import LABEL, _image_id


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this call share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def base() -> str:
    """The image that others start from."""
    found = os.environ.get("RATCHET_TEST_BASE")
    if not found:
        pytest.skip('no base image: eval "$(.ci/engine)" starts an engine and makes one')
    return found


@pytest.fixture(scope="session")
def bare(base: str) -> Iterator[Docker]:
    """The engine; the image under test may not be there yet."""
    program = shutil.which(os.environ.get("ENGINE", "docker"))
    if program is None or subprocess.run([program, "version"], capture_output=True).returncode:
        pytest.skip("no container engine answers")
    engine = Docker(program)
    yield engine
    engine.clean()


@pytest.fixture(scope="session")
def docker(bare: Docker, base: str, common: Path) -> Docker:
    """The engine, with an image built from this checkout by ``make image``."""
    make = ["make", "--no-print-directory", "-C", str(REPO), "image", f"ENGINE={bare.program}"]
    settings = [
        f"IMAGE={IMAGE}",
        f"BASE_IMAGE={base}",
        "BUILD=--network host --build-arg TASKS=bytelm",
    ]
    with once(common / "image") as missing:
        if missing:
            printed([*make, *settings])
    return bare


@pytest.fixture
def engine(docker: Docker, monkeypatch: Patch) -> Iterator[Docker]:
    """The same, for runs that this process starts."""
    monkeypatch.setenv("RATCHET_ENGINE", docker.program)
    monkeypatch.setenv("RATCHET_RUN_IMAGE", docker.image)
    monkeypatch.delenv("RATCHET_EXCHANGE", raising=False)

    def forget() -> None:
        sandbox.sandbox_fault.cache_clear()
        _image_id.cache_clear()

    forget()
    yield docker
    forget()


@pytest.fixture
def left(docker: Docker) -> Iterator[None]:
    """No run may leave a container behind."""
    yield
    shown = docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}")
    assert shown.split() == []


@pytest.fixture(autouse=True)
def alone(request: pytest.FixtureRequest, common: Path) -> Iterator[None]:
    """One test with containers at a time: what is left behind is looked for on the whole engine."""
    names = set(request.fixturenames)
    if "bare" not in names or "tool" in names:
        yield
        return
    with (common / "alone").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
