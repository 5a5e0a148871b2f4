"""A session of recorded runs with curves, played with trackers by the interpreter that has them.

    python -m helpers.tracked FOLDER TRACKERS [RUN]

The process kills itself when run number RUN is to be made, as nothing else could.
"""

import os
import signal
import sys
from pathlib import Path

from helpers import FAKE
from helpers.boxes import Box, make_box
from helpers.recorded import Recorded
from ratchet.records.series import CURVE, CurvePoint, series_table
from ratchet.records.store import RunRecord, Store
from ratchet.runs.spec import RunSpec

SETTINGS = {"rounds": 12}
CURVE_STEPS = 7


class WithCurves(Recorded):
    """Recorded runs that leave a curve each; the process dies at the ``deadly`` run."""

    deadly = 0

    def execute(self, spec: RunSpec, store: Store, folder: Path) -> RunRecord:
        if self.runs + 1 == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        record = super().execute(spec, store, folder)
        points = [CurvePoint(step, 2.0 / (step + 1), step / 10) for step in range(CURVE_STEPS)]
        (folder / CURVE).write_text(series_table(points), encoding="utf-8")
        return record


def tracked_box(folder: Path) -> Box:
    """The box of such a session; made if it is not there."""
    box = Box(folder.resolve(), dict(SETTINGS)) if folder.is_dir() else make_box(folder, **SETTINGS)
    box.backend = WithCurves.load("fake", FAKE)
    return box


def main(folder: str, trackers: str, deadly: str = "0") -> None:
    """Play it, or go on with it."""
    WithCurves.deadly = int(deadly)
    print(tracked_box(Path(folder)).play(trackers=f"[{trackers}]"))


if __name__ == "__main__":
    main(*sys.argv[1:])
