"""An engine, an image of this very source, and what they need; else the tests skip.

Read from the environment: ``RATCHET_TEST_BASE``, an image with apt's packages for
the Dockerfile to start from (``.ci/engine`` makes one), and ``ENGINE``.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from engines import IMAGE, REPO, Docker
from ratchet import container, isolation


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """The engine, with an image built from this checkout by ``make image``."""
    base = os.environ.get("RATCHET_TEST_BASE")
    if not base:
        pytest.skip('no base image: eval "$(.ci/engine)" starts an engine and makes one')
    program = shutil.which(os.environ.get("ENGINE", "docker"))
    if program is None or subprocess.run([program, "version"], capture_output=True).returncode:
        pytest.skip("no container engine answers")
    engine = Docker(program)
    # Workers of one session share what is above their own folders.
    lock = tmp_path_factory.getbasetemp().parent / "ratchet-image.lock"
    with lock.open("w") as own:
        fcntl.flock(own, fcntl.LOCK_EX)
        make = ["make", "--no-print-directory", "-C", str(REPO), "image", f"ENGINE={program}"]
        settings = [f"IMAGE={IMAGE}", f"BASE_IMAGE={base}", "BUILD=--network host"]
        done = subprocess.run([*make, *settings], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
    yield engine
    engine.clean()


@pytest.fixture
def engine(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Docker]:
    """The same, for runs that this process starts."""
    monkeypatch.setenv("RATCHET_ENGINE", docker.program)
    monkeypatch.setenv("RATCHET_RUN_IMAGE", docker.image)
    monkeypatch.delenv("RATCHET_EXCHANGE", raising=False)

    def forget() -> None:
        isolation.fault.cache_clear()
        container._image_id.cache_clear()

    forget()
    yield docker
    forget()


@pytest.fixture
def left(docker: Docker) -> Iterator[None]:
    """No run may leave a container behind."""
    yield
    shown = docker("ps", "--all", "--quiet", "--filter", f"label={container.LABEL}")
    assert shown.split() == []
