"""A competitor's rounds until its share of runs is used up."""

from collections.abc import Mapping
from pathlib import Path

from ratchet.base.io import read_record, source_digest, write_json
from ratchet.base.structs import Struct, field
from ratchet.integrity.seal import begin_workflow, finish_workflow
from ratchet.proposers.idea import carry_edit, carry_over, same_sources
from ratchet.records.history import History, name_of
from ratchet.records.paths import SessionPaths
from ratchet.records.proposals import POLLINATION, Edit
from ratchet.records.records import StopReason
from ratchet.records.session_repo import SessionRepo
from ratchet.session import Session
from ratchet.steps.propose import Offer, write_offer
from ratchet.steps.rounds import Clock, play_round
from ratchet.steps.steer import show_incumbent
from ratchet.task.edits import find_value
from ratchet.task.task import DeclaredChange
from ratchet.tournament.arena import Arena, enter_competitor
from ratchet.tournament.plan import Fate, Graft, Leg, Pollination, Win

Texts = Mapping[str, str]


def graft_win(
    parent: Texts,
    edited: Texts,
    incumbent: Texts,
    edit: Edit | None,
    space: tuple[DeclaredChange, ...],
) -> tuple[Texts | None, Fate, str]:
    """Change from ``parent`` to ``edited``, done to ``incumbent``; else why not.

    Nothing is forced: where both changed the same thing, that is a conflict.
    """
    merged = carry_edit(parent, edited, incumbent, edit, space)
    if merged is not None and not same_sources(incumbent, merged):
        return merged, Fate.OFFERED, ""
    # A change that can be undone on the incumbent is in it already.
    taken_back = carry_over(edited, parent, incumbent) is not None
    if taken_back or _has(incumbent, edit) or same_sources(incumbent, edited):
        return None, Fate.PRESENT, "it is in the incumbent already"
    return None, Fate.CONFLICT, _why(parent, incumbent, edit)


def _has(incumbent: Texts, edit: Edit | None) -> bool:
    """Whether the incumbent has the constant at the win's value."""
    if edit is None or edit.value is None:
        return False
    return edit.value in map(repr, _values(incumbent, edit))


def _values(texts: Texts, edit: Edit) -> list[object]:
    """Values of the edit's constant in these files."""
    found = (find_value(name, text, edit.name) for name, text in texts.items())
    return [place.value for place in found if place is not None]


def _why(parent: Texts, incumbent: Texts, edit: Edit | None) -> str:
    if edit is not None and edit.value is not None:
        value = next(iter(_values(incumbent, edit)), None)
        return f"both set {edit.name}; the incumbent has {value!r}"
    changed = ", ".join(n for n in incumbent if incumbent[n] != parent.get(n, ""))
    return f"both changed the same lines of {changed or 'the files'}"


def play_leg(arena: Arena, number: int, index: int, limits_file: Path | None, clock: Clock) -> None:
    """Play the leg of one competitor in tournament round ``number``; write its record.

    In round 0 it enters.  A leg that was interrupted is played again from its
    beginning: what was proposed and run is in the store, so nothing is done twice.
    """
    session = enter_competitor(arena, index) if number == 0 else arena.open(index)
    SessionRepo(session.paths.repository, session.config.session).clear_stale_locks()
    name, queue, before = arena.names[index], list[Win](), 0
    if number > 0:
        before = read_record(Leg, arena.paths.leg(number - 1, index)).rounds
    if number > 1:
        offered = read_record(Pollination, arena.paths.pollination(number - 1))
        queue = list(offered.queue(name))
    playing = Playing(session, name, number, before, queue, limits_file, clock)
    found = playing.run()
    commit = session.state(found.rounds).incumbent.commit
    session.repo.settle(commit)
    place = competitor_worktree(arena.paths, arena.config.worktrees, session.config.session)
    show_incumbent(session, place, commit)
    told = ("number", "competitor", "rounds", "runs", "best", "mean", "sd", "kept", "stop")
    session.journal.append("leg_finished", **{name: getattr(found, name) for name in told})
    finish_workflow(session.paths)
    write_json(arena.paths.leg(number, index), found)


def competitor_worktree(
    arena_paths: SessionPaths, worktrees_folder: str | None, session: str
) -> Path:
    """Folder in which the incumbent of a competitor's session is checked out."""
    if worktrees_folder is None:
        return SessionPaths(session, arena_paths.root).worktree
    return arena_paths.root / Path(worktrees_folder).expanduser() / session


class Playing(Struct):
    """A leg at work; ``rounds`` are those of the session that were played."""

    session: Session
    name: str
    number: int
    rounds: int
    queue: list[Win]
    limits_file: Path | None
    clock: Clock
    grafts: list[Graft] = field(default_factory=list)

    def run(self) -> Leg:
        """Play rounds until the share is used up or the session ends.

        The share counts from the start, so that a leg whose last round took more
        retests than were left is followed by a shorter one.  Every round uses a run,
        unless its edit was refused: rounds are therefore bounded by the share too.
        """
        goal = self.number * self.session.config.evolve_runs
        stop: StopReason | None = None
        detail = ""
        while stop is None and self._runs < goal and self.rounds < goal:
            stop, detail = self._play(self.rounds + 1)
        state = self.session.state(self.rounds)
        return Leg(
            number=self.number,
            competitor=self.name,
            session=self.session.config.session,
            rounds=self.rounds,
            runs=self._runs,
            experiment=state.incumbent.number,
            best=state.incumbent.measured,
            mean=state.incumbent.mean,
            sd=state.incumbent.sd,
            kept=state.incumbent.kept,
            grafts=tuple(self.grafts),
            waiting=tuple(win.origin for win in self.queue),
            stop=stop,
            detail=detail,
        )

    @property
    def _runs(self) -> int:
        """Training runs so far, those of the baseline not counted."""
        begun = self.session.state(0).runs_used
        return self.session.state(self.rounds).runs_used - begun

    def _play(self, number: int) -> tuple[StopReason | None, str]:
        """One round; a win whose turn did not come, since it ended here, waits on."""
        win = self._put_forward(number)
        stop, detail, played = play_round(self.session, number, self.limits_file, self.clock)
        if played:
            self.rounds = number
        elif win is not None:
            self.queue.insert(0, win)
            self.grafts.pop()
            self._clear(number)
        return stop, detail

    def _put_forward(self, number: int) -> Win | None:
        """Offer the first win that fits the incumbent; others are told why not."""
        while self.queue:
            win = self.queue.pop(0)
            offer, found = self._fit(win, number)
            self.grafts.append(found)
            self.session.journal.append(
                "grafted", origin=win.origin, fate=found.fate, round=number, detail=found.detail
            )
            if offer is not None:
                begin_workflow(self.session.paths, [self.session.paths.offer(number)])
                write_offer(self.session.paths, number, offer)
                return win
        self._clear(number)
        return None

    def _clear(self, number: int) -> None:
        """Take back what was offered for a round when the leg was played otherwise."""
        path = self.session.paths.offer(number)
        if path.exists():
            begin_workflow(self.session.paths, [path])
            path.unlink()

    def _fit(self, win: Win, number: int) -> tuple[Offer | None, Graft]:
        history = History.read(self.session.paths, self.rounds, confirmed=False)
        held = history.state.incumbent
        edits = {trial.edit: trial for trial in history.trials}
        twin = edits.get(win.edit.label) if win.edit is not None else None
        if twin is not None:
            return None, _repeats(win, twin.number, twin.kept)
        new: Mapping[str, str] | None = win.files
        fate, detail = Fate.OFFERED, ""
        if not win.whole:
            new, fate, detail = self._merge(win, held.files)
        elif source_digest(win.files) == held.source:
            new, fate, detail = None, Fate.PRESENT, "it is the incumbent already"
        if new is None:
            return None, Graft(win.origin, fate, None, detail)
        measured = {trial.proposal.source: trial for trial in (history.start, *history.trials)}
        twin = measured.get(source_digest(new))
        if twin is not None:
            return None, _repeats(win, twin.number, kept=False)
        offer = Offer(
            files=new,
            category=win.category,
            description=f"{win.description} (win of {win.donor}, its experiment {win.experiment})",
            hypothesis=win.hypothesis,
            proposer=POLLINATION,
            origin=win.origin,
            edit=win.edit,
        )
        return offer, Graft(win.origin, fate, number)

    def _merge(self, win: Win, held: Mapping[str, str]) -> tuple[dict[str, str] | None, Fate, str]:
        """A win's patch on the incumbent, by digest."""
        texts = self.session.texts
        space = tuple(self.session.task.search_space)
        merged, fate, detail = graft_win(
            texts(win.parent), texts(win.files), texts(held), win.edit, space
        )
        return None if merged is None else self.session.put(merged), fate, detail


def _repeats(win: Win, twin: int, kept: bool) -> Graft:
    """A win that this competitor had itself: the same edit is not judged twice."""
    what = name_of(twin)
    if kept:
        return Graft(win.origin, Fate.PRESENT, None, f"it is here already, as {what}")
    return Graft(win.origin, Fate.TRIED, None, f"it was tried here as {what}")
