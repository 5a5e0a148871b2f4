"""One arena for all tests of a worker: the data are prepared once."""

from __future__ import annotations

import pytest

from helpers.candidates import Arena


@pytest.fixture(scope="session")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    return Arena(tmp_path_factory.mktemp("arena with space"))
