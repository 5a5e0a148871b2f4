"""Takes the README's pictures of a finished session; `make pictures` runs it.

    PYTHONPATH=tests python -m helpers.pictures results/default tests/data/pictures

Writes ``progress.svg``, the session's own, and ``report.png``, the beginning of its
report as a headless Chromium shows it.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from helpers.chromium import Browser, found

WIDTH, HEIGHT = 1000, 1240


def main(session: Path, folder: Path) -> int:
    """The exit status: 0, or 1 where something is missing."""
    missing = [name for name in ("report.html", "progress.svg") if not (session / name).is_file()]
    if missing or found() is None:
        what = f"{session / missing[0]}" if missing else "a Chromium on the PATH"
        print(f"pictures: expected {what}, found none", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(session / "progress.svg", folder / "progress.svg")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(Path(profile))
        try:
            browser.open(session / "report.html", width=WIDTH, height=HEIGHT)
            browser.picture(folder / "report.png")
        finally:
            browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
