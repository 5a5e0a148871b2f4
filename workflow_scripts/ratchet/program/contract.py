"""What a ``program.md`` has to agree with, and what a session adds to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ratchet.advice import Suggestion
from ratchet.ceiling import Ceiling
from ratchet.codec import Frozen, field
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


class Entry(Frozen):
    """One judged experiment; ``delta`` in the metric's unit and own direction."""

    number: int
    category: str
    description: str
    verdict: str
    kept: bool
    failed: bool
    delta: float | None = None
    confidence: float | None = None
    reason: str = ""


class History(Frozen):
    """What a session has found out.

    ``baseline``, ``noise_sd``, ``best`` (believed of the champion, experiment
    ``champion``, 0 for the baseline) and ``gain`` with its interval at ``level`` are
    in the metric's unit.  ``place`` and ``task`` are the folders of session and task as
    commands name them, from where Snakemake runs.
    """

    session: str
    place: str
    task: str
    finished: bool
    baseline: float
    replicates: int
    noise_sd: float | None
    champion: int
    best: float
    entries: Sequence[Entry] = ()
    suggestions: Sequence[Suggestion] = ()
    avoid: Sequence[str] = ()
    ranking: Sequence[str] = ()
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    stopped: str = ""
    preset: str = ""

    @property
    def kept(self) -> int:
        return sum(entry.kept for entry in self.entries)
