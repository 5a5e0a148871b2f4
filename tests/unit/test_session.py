"""A session as its readers see it."""

import subprocess
import sys


def test_reading_a_session_loads_nothing_that_executes() -> None:
    script = "import sys, ratchet.session; print(*(n for n in sys.modules if 'ratchet.' in n))"
    names = subprocess.check_output([sys.executable, "-c", script], text=True).split()
    folders = {name.split(".")[1] for name in names}
    assert "records" in folders
    assert "runs" not in folders
