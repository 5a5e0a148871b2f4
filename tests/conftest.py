"""Settings of all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# Machines are busy: a slow example is no failure.  Without hands, the examples
# are the same every time.
settings.register_profile("ratchet", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("ratchet")
