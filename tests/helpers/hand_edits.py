"""``ratchet try`` in this very process."""

import contextlib
import io
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from helpers.boxes import DEFAULTS, Box
from helpers.player import Player, inside
from ratchet.cli.tryout import TrialPlace, main


class Answer(NamedTuple):
    """What a call of the command gave."""

    returncode: int
    stdout: str
    stderr: str


def ratchet_try(box: Box, *words: str, **settings: object) -> Answer:
    """Call the command; its round is played in this process too."""

    def play(place: TrialPlace, number: int) -> None:
        given = {**values, "rounds": number}
        assert Player(box.harness, given).session(first="rounds", last="rounds") == 0

    values = {**DEFAULTS, **box.settings, **settings}
    pairs = [f"{key}={'null' if value is None else value}" for key, value in values.items()]
    out, err = io.StringIO(), io.StringIO()
    with (
        inside(box.path, {**box.environment, "RATCHET_HARNESS": str(box.harness)}),
        mock.patch.object(TrialPlace, "_run_round", play),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main([*words, "--config", *pairs])
    return Answer(code, out.getvalue(), err.getvalue())


def script(box: Box) -> Path:
    return box.path / "tasks" / "fake" / "train.py"
