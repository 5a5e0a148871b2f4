"""One Chromium for the tests of a module."""

from collections.abc import Iterator

import pytest

from helpers import chromium


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    if chromium.found() is None:
        pytest.skip(chromium.MISSING)
    started = chromium.Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture
def browser(started: chromium.Browser) -> Iterator[chromium.Browser]:
    """The browser; the page that a test opens last must stay calm."""
    yield started
    started.check_calm()
