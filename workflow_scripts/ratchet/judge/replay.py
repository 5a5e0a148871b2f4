"""Judge a finished log whose decisions were taken by someone else."""

from __future__ import annotations

from collections.abc import Sequence

from ratchet.codec import Frozen, replace
from ratchet.errors import DataError
from ratchet.judge.assessment import Assessment
from ratchet.judge.core import Judge
from ratchet.judge.effects import FloatArray
from ratchet.judge.settings import Settings


class Replay(Frozen):
    """The judge after the log, and its view of each row at that row's time.

    ``assessments`` holds ``None`` for the baseline, for further runs of the
    incumbent and for rows without a metric.  ``weights`` are those of the effect
    prior, by noise node, that each assessment rests on.  ``beliefs`` are mean and sd
    of the incumbent's true metric after each row, ``None`` before the baseline.
    """

    judge: Judge
    assessments: tuple[Assessment | None, ...]
    weights: tuple[FloatArray | None, ...]
    beliefs: tuple[tuple[float, float] | None, ...]


def replay(
    values: Sequence[float | None],
    kept: Sequence[bool],
    replicate_mask: Sequence[bool],
    settings: Settings,
) -> Replay:
    """Replay rows in order with the decisions that were taken.

    ``values`` holds ``None`` where a row has no valid metric; lower is better.
    The first valid row is the baseline.  Rows of ``replicate_mask`` that were
    not kept are further runs of the incumbent.  Every candidate counts with one
    run, so no assessment asks for a retest.  Raises :class:`DataError` for
    sequences of unequal length and for values that are not finite.
    """
    if not len(values) == len(kept) == len(replicate_mask):
        sizes = f"{len(values)}, {len(kept)} and {len(replicate_mask)}"
        raise DataError(
            f"replay: expected values, kept and replicates of equal length, found {sizes}"
        )
    judge = Judge(replace(settings, max_replicates=1))
    assessments: list[Assessment | None] = []
    weights: list[FloatArray | None] = []
    beliefs: list[tuple[float, float] | None] = []
    started = False
    for value, keep, again in zip(values, kept, replicate_mask, strict=True):
        assessments.append(None)
        weights.append(None)
        if value is None:
            if started:
                judge.crash()
        elif not started or (again and not keep):
            judge.incumbent(value)
            started = True
        else:
            weights[-1] = judge.effect_weights
            assessments[-1] = judge.assess([value])
            judge.commit(keep)
        beliefs.append((judge.incumbent_mean, judge.incumbent_sd) if started else None)
    return Replay(judge, tuple(assessments), tuple(weights), tuple(beliefs))
