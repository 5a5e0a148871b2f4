"""Anybody's log read and judged for its report: rows, run log, commits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ratchet.cli import command
from ratchet.cli.autosteer import DEFAULT_SUGGESTIONS
from ratchet.cli.autosteer_log import Sources, analyze, judged_by
from ratchet.cli.judging import Rules, replayed, settings_for
from ratchet.cli.noise import noise_source
from ratchet.cli.session import SAME_VALUE, Experiments, experiments, of_agent
from ratchet.codec import Frozen, field
from ratchet.dialects import RowStatus, RunLog, decode_text, read_run, read_table
from ratchet.errors import DataError
from ratchet.report.foreign_log import Edit, LogSession, RunFile, SourceFile
from ratchet.results_tsv import one_line
from ratchet.steer import Mode
from ratchet.vocabulary import Direction


class Request(Frozen):
    """What is to be reported: files, and what the reader knows better than the log."""

    results: Path
    run_log: Path | None = None
    repo: Path | None = None
    metric: str | None = None
    direction: Direction | None = None
    agent: str | None = None
    rules: Rules = field(default_factory=Rules)


def read(request: Request) -> LogSession:
    """Read, replay and steer.

    Raises :class:`InputMissingError` for a file that cannot be read and
    :class:`DataError` for a log that cannot be judged.
    """
    data, name = command.read(request.results), one_line(str(request.results))
    table = read_table(data, name, request.metric, request.direction)
    if request.agent is not None:
        table = of_agent(table, request.agent)
    every = experiments(table)
    if every.first is None:
        raise DataError(
            f"{name}: line 1, column 1: expected a row with a value of {one_line(table.metric)}, "
            f"found none in {len(table.rows)} rows; is another column the metric? name it: "
            "--metric NAME"
        )
    settings, assumed = settings_for(every, len(every.rows), request.rules)
    done = replayed(every, settings)
    sources = None if request.repo is None else _sources(request.repo)
    seed = int(hashlib.sha256(data).hexdigest()[:15], 16)
    judged = judged_by(done)
    run, said = _run(request.run_log, every)
    stated = request.rules.noise_sd is not None
    noise, guess = noise_source(every, settings, stated, bool(assumed))
    return LogSession(
        file=_file(request.results, data),
        every=every,
        done=done,
        steered=analyze(every, Mode.AUTO, DEFAULT_SUGGESTIONS, seed, sources, judged),
        mode=request.rules.mode,
        noise=noise,
        guess=guess,
        notes=(*table.assumptions, *every.assumptions(), *_anew(every), *assumed, *said),
        run=run,
        edits=None if sources is None else _edits(every, sources),
    )


def _file(path: Path, data: bytes) -> SourceFile:
    """A file without its folders, which are this machine's."""
    return SourceFile(path.name, len(data), hashlib.sha256(data).hexdigest())


def _anew(every: Experiments) -> list[str]:
    """Baselines after the first change that was kept: measurements before them may differ."""
    lines = [
        row.line
        for place, row in enumerate(every.rows)
        if row.status is RowStatus.BASELINE and every.kept[place] and place != every.first
    ]
    if not lines:
        return []
    shown = ", ".join(map(str, lines[:8]))
    return [f"line {shown}: a later baseline is a new incumbent, measured as the ones before it"]


def _run(path: Path | None, every: Experiments) -> tuple[RunFile | None, list[str]]:
    """The run log, the row that it is of, and what was assumed for that."""
    if path is None:
        return None, []
    data, name = command.read(path), one_line(str(path))
    run = read_run(data, name, every.table.metric)
    number = _row_of(run, every)
    text = decode_text(data, name)[0] if data.strip() else ""
    if number is not None:
        why = "it failed, as the last row did" if run.value is None else "they have the same metric"
        said = f"the run log is of experiment {number}: {why}"
    else:
        found = f"has {one_line(every.table.metric)} {run.value}, which no row has"
        if run.value is None:
            found = "has no metric, and the last row has one"
        said = f"the run log is of no row and not shown: it {found}"
    return RunFile(_file(path, data), text, number), [*run.assumptions, said]


def _row_of(run: RunLog, every: Experiments) -> int | None:
    """The last row with the run's metric; of a failed run, the last row if it failed too."""
    if run.value is None:
        return every.numbers[-1] if every.values[-1] is None else None
    near = SAME_VALUE * max(1.0, abs(run.value))
    for row, number in zip(reversed(every.rows), reversed(every.numbers), strict=True):
        if row.value is not None and abs(row.value - run.value) <= near:
            return number
    return None


def _sources(repo: Path) -> Sources:
    """What commits changed, each read once."""
    from ratchet.commits import Commits

    return cache(Commits(repo).sources)


def _edits(every: Experiments, sources: Sources) -> Mapping[int, Edit]:
    """Edits of the candidates whose commit the repository has, by number."""
    from ratchet.categories.size import changes
    from ratchet.code_lines import net
    from ratchet.proposers.declared import diff

    found = {}
    for place, (row, number) in enumerate(zip(every.rows, every.numbers, strict=True)):
        if place == every.first or every.again[place] or not row.commit:
            continue
        texts = sources(row.commit)
        if texts is not None:
            text, added, removed = diff(*texts)
            found[number] = Edit(text, added, removed, net(*texts), changes(*texts))
    return found
