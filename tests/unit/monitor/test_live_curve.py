"""The training loss of a run at work: in one line, in a few rows, in a page."""

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.pages import check_inert
from helpers.session_events import NOW, run, started, verdict, write
from ratchet.base.terminal import text_width
from ratchet.monitor import views
from ratchet.monitor.live_curve import (
    LiveCurve,
    binned,
    curve_line,
    curve_rows,
    curve_svg,
    curve_words,
    loss_at,
    with_curves,
)
from ratchet.monitor.views import RunWatch, live_facts, render_live
from ratchet.records.paths import SessionPaths
from ratchet.records.series import CURVE, CurvePoint, series_table
from ratchet.records.store import LOG

FOLDER = "run-abc"


def curve(*losses: float, every: int = 100) -> list[CurvePoint]:
    return [CurvePoint(every * n, loss) for n, loss in enumerate(losses)]


def at_work(
    root: Path, log: str, held: list[CurvePoint] | None = None, **facts: Any
) -> SessionPaths:
    """A session whose second experiment is at work, and whose first one was kept."""
    events = [
        *started(),
        run(250, True, 1, key="ab12"),
        verdict(290, 1, "KEEP"),
        {**run(300, False, 2), "folder": FOLDER, **facts},
    ]
    write(root, events)
    paths = SessionPaths("night", root)
    place = paths.store.partial / FOLDER
    place.mkdir(parents=True)
    (place / LOG).write_text(log)
    if held:
        paths.store.run("ab12").mkdir(parents=True)
        (paths.store.run("ab12") / CURVE).write_text(series_table(held))
    return paths


def facts_of(paths: SessionPaths) -> dict[str, Any]:
    events = [json.loads(line) for line in paths.events.read_text().splitlines()]
    return with_curves(live_facts(events, NOW + 310), paths)


LINES = "".join(f"step {100 * n}: loss {5 - n}\n" for n in range(3))


def test_a_run_at_work_is_compared_with_the_incumbent_at_equal_step(tmp_path: Path) -> None:
    paths = at_work(tmp_path, LINES, curve(5.0, 4.0, 2.5, 2.0, 1.0))
    (work,) = facts_of(paths)["current"]
    assert (work["curve"]["step"], work["curve"]["loss"], work["curve"]["here"]) == (200, 3.0, 2.5)
    line = curve_line(work)
    assert line.startswith("#2  loss 3 ") and "  incumbent 2.5 " in line
    assert text_width(line) < 70
    own, held = curve_words(work["curve"])
    assert own.endswith(" 3 at step 200") and held.endswith(" incumbent 2.5 there")
    assert json.dumps(work, allow_nan=False)


def test_what_cannot_be_read_is_not_shown(tmp_path: Path) -> None:
    paths = at_work(tmp_path, "no loss yet\n")
    assert facts_of(paths)["current"][0]["curve"] is None
    for number, name in enumerate(("gone", "../partial/run-abc", "", "/")):
        paths = at_work(tmp_path / str(number), LINES, folder=name)
        assert facts_of(paths)["current"][0]["curve"] is None
    paths = at_work(tmp_path / "pattern", LINES, curve="(")
    assert facts_of(paths)["current"][0]["curve"] is None


def test_the_pattern_of_the_task_reads_its_lines(tmp_path: Path) -> None:
    paths = at_work(tmp_path, "it[7] E 2.5\n", curve=r"it.(?P<step>\d+). E (?P<loss>\S+)")
    assert facts_of(paths)["current"][0]["curve"]["loss"] == 2.5


def test_losses_between_points_and_beyond_them() -> None:
    points = curve(4.0, 2.0, float("nan"))
    found = [loss_at(points, step) for step in (0, 50, 100, 150, 250)]
    assert found == [4.0, 3.0, 2.0, None, None]
    assert loss_at([], 5) is None
    assert binned([(10, 4.0), (30, 2.0)], 6, 60) == [4.0, 4.0, 3.0, 2.0, None, None]
    assert binned([(0, None)], 2, 0) == [None, None]


def shown(own: list[CurvePoint], held: list[CurvePoint]) -> dict[str, Any]:
    found = LiveCurve.of(own, held)
    return {name: getattr(found, name) for name in found.__struct_fields__}


def test_rows_have_common_axes_and_a_plain_form() -> None:
    found = shown(curve(9.0, 3.0, 2.0), curve(9.0, 3.0, 2.0, 1.0, 1.0))
    own, held = curve_rows(found, width=5)
    assert held.startswith(own) and len(held) == 5
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert all(row.isascii() for row in curve_rows(found, plain, width=5))
    assert curve_rows(shown(curve(float("nan")), []), width=5) == []
    assert curve_line({"number": 3, "curve": shown(curve(float("nan")), [])}) == "#3  loss nan "
    flat = curve_rows(shown(curve(2.0, 2.0), []), width=4)
    assert len(flat) == 1


@pytest.mark.parametrize("losses", [(4.0,), (4.0, float("nan")), (1e300, -1e300, 0.0), (2.0, 2.0)])
def test_the_page_draws_numbers_alone(tmp_path: Path, losses: tuple[float, ...]) -> None:
    found = curve_svg(shown(curve(*losses), curve(*losses[:1])))
    assert "nan," not in found and "inf" not in found
    paths = at_work(tmp_path, LINES.replace("loss", "<img> loss"), curve(*losses))
    page = render_live(facts_of(paths))
    assert check_inert(page).tags >= {"svg", "polyline"}
    assert "edit 2" in page and "<img" not in page


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError


def wait_until(condition: Any) -> None:
    limit = time.monotonic() + 30
    while not condition() and time.monotonic() < limit:
        time.sleep(0.01)
    assert condition()


def test_one_line_is_redrawn_until_the_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(views, "REFRESH_SECONDS", 0.0)
    paths = at_work(tmp_path, LINES, curve(5.0, 4.0, 2.0, 2.0))
    begun = {**run(300, False, 2), "folder": FOLDER}
    terminal = Terminal()
    watch = RunWatch(paths, terminal, every=0.01)
    watch(begun)
    wait_until(lambda: terminal.getvalue().count("\r") > 1 and paths.live_html.exists())
    watch(run(310, True, 2))
    drawn = terminal.getvalue()
    assert drawn.endswith("\r") and "\n" not in drawn
    assert all(line.startswith("\x1b[K") and "loss 3 " in line for line in drawn.split("\r")[:-1])
    assert all(text_width(line) < 84 for line in drawn.split("\r"))
    assert "polyline" in paths.live_html.read_text()
    assert watch.thread is None
    silent = io.StringIO()
    watch = RunWatch(paths, silent, every=0.0)
    watch(begun)
    watch.close()
    assert silent.getvalue() == ""
