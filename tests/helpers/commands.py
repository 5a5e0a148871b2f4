"""Types of tests of command lines, short enough for a signature of one line."""

from __future__ import annotations

import pytest

Capsys = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch
