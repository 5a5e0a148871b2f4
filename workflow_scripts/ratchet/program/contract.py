"""What a ``program.md`` has to agree with, and what a session adds to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ratchet.ceiling import Ceiling
from ratchet.codec import Frozen, field
from ratchet.history import History
from ratchet.vocabulary import Direction


class Contract(Frozen):
    """The task and the configuration as far as a proposer must know them.

    Exactly one of ``budget_seconds`` and ``budget_steps`` is set.  ``directions``
    are the categories of the search space, the most promising first, each with what
    it may vary.
    """

    task: str
    metric: str
    direction: Direction
    mutable: Sequence[str]
    fixed: Sequence[str] = ()
    description: str = ""
    unit: str = ""
    budget_seconds: float | None = None
    budget_steps: int | None = None
    ceiling: Ceiling = field(default_factory=Ceiling)
    network: bool = False
    replicates: int = 3
    directions: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def lower(self) -> bool:
        """Whether a lower metric is the better one."""
        return self.direction is Direction.MINIMIZE

    @property
    def better(self) -> str:
        return "lower is better" if self.lower else "higher is better"

    @property
    def verb(self) -> str:
        return "Lower" if self.lower else "Raise"

    @property
    def budget(self) -> str:
        """The budget of a run in words."""
        if self.budget_steps is not None:
            return f"{self.budget_steps} steps"
        return f"{self.budget_seconds:g} seconds"


class PastSession(Frozen):
    """A session that the next ``program.md`` tells of, finished or not.

    ``folder`` and ``task`` are the folders of session and task as commands name them,
    from where Snakemake runs; ``preset`` is the one that it began with.
    """

    name: str
    folder: str
    task: str
    history: History
    preset: str = ""
