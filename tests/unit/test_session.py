"""A session as its readers see it."""

from __future__ import annotations

import subprocess
import sys


def test_reading_a_session_loads_nothing_that_executes() -> None:
    script = "import sys, ratchet.session; print(*(n for n in sys.modules if 'ratchet.' in n))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    folders = {name.split(".")[1] for name in done.stdout.decode().split()}
    assert "records" in folders
    assert "runs" not in folders
