"""What the report of a finished session says can be done, done."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

from helpers.boxes import Box


def test_its_commands_show_an_edit_and_run_it_again(copy: Box) -> None:
    facts = copy.json("report.json")
    tried = next(e for e in facts["experiments"] if e["status"] == "keep")
    python = f'python() {{ {shlex.quote(sys.executable)} "$@"; }}'
    lines = ["set -e", python, *facts["preparation"], *tried["commands"]]
    done = subprocess.run(
        ["sh", "-c", "\n".join(lines)],
        cwd=copy.path,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(copy.path)},
        check=True,
    )
    assert tried["diff"].splitlines()[-1] in done.stdout
    printed = dict(line.split(":", 1) for line in done.stdout.splitlines() if line.count(":") == 1)
    assert float(printed[facts["metric"]["name"]]) == tried["runs"][0]["value"]


def test_the_drawing_is_made_and_sealed(finished: Box) -> None:
    drawing = (finished.session / "progress.svg").read_text()
    assert drawing.startswith("<svg") and "experiments kept" in drawing
    assert "  progress.svg\n" in (finished.session / "SHA256SUMS").read_text()
    assert finished.json("report.json")["soundness"]["intact"] is True


def test_a_changed_record_is_found_when_the_report_is_made(copy: Box) -> None:
    path = copy.session / "rounds" / "0001" / "proposals.json"
    record = json.loads(path.read_text())
    record["proposals"][0]["description"] = "something else"
    path.chmod(0o644)
    path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    stat = (copy.session / "rounds" / "0001" / "verdict.json").stat()
    os.utime(path, (stat.st_atime - 100, stat.st_mtime - 100))
    copy.play(first="report")
    sound = copy.json("report.json")["soundness"]
    assert sound["intact"] is False
    assert sound["deviations"] == ["rounds/0001/proposals.json: not the bytes that were sealed"]
    assert "NOT INTACT: 1 deviation" in (copy.session / "report.html").read_text()
