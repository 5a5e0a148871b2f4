"""What a script's own runs tell of its task: seed, metric, direction, memory, steps, budget.

``ratchet init`` fills a draft of a ``task.yaml`` with it.  The runs are made as those of a
session are, in the same sandbox, and nothing of them is kept.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.errors import DataError, InputMissingError, UsageError
from ratchet.base.structs import Frozen, replace
from ratchet.base.text import clean_lines, one_line, plural, shorten, spoken_duration
from ratchet.cli.main import tell
from ratchet.config import Config
from ratchet.logs.columns import MEMORY_NAME, PREFERRED, names_no_goal
from ratchet.logs.words import direction_of, normal_name
from ratchet.records.paths import StorePaths
from ratchet.records.records import Direction, Outcome
from ratchet.records.store import LOG, RunRecord, Store
from ratchet.runs.causes import LABELS, NETWORK, Cause, Failure, find_failure
from ratchet.runs.curve import curve_parts, printed_curve
from ratchet.runs.devices import VISIBLE_GPUS, Claim
from ratchet.runs.hardware import current_hardware, nvml_library, visible_gpus
from ratchet.runs.log import parse_summary
from ratchet.runs.run import execute_run, leased
from ratchet.runs.sandbox.sandbox import SandboxKind, choose_sandbox, stronger_advice
from ratchet.runs.spec import RunSpec
from ratchet.steps.prepare import Preparation
from ratchet.task.discover import (
    Folder,
    Printed,
    home_caches,
    memory_unit,
    printed_numbers,
    printed_steps,
    seed_ways,
    stated_goal,
)
from ratchet.task.environment import Interpreter, cache_mount, cache_source, resolve_command
from ratchet.task.repository import (
    LEAST_TIMEOUT_SECONDS,
    complete_values,
    default_budget,
    values_of,
)
from ratchet.task.task import DEFINITION, Task, build_task

NAME = "ratchet init"

AWARE_SECONDS = 60.0
"""Budget of code that reads Ratchet's variables: enough to see it train."""

TIMES_WALL = 3.0
"""Limit of a session's runs in those of the script's own run: an edit may train
a larger model, and a machine may be busy."""

TIMES_WORK, SLACK_SECONDS = 2.0, 5.0
"""Most work of a run that counts, in those of the script's own run, where the code sets its
budget itself: a busy machine takes half as much again, and starting a part of a second."""

SHOWN_LINES = 20
"""Last lines of a failed run that are shown."""

SEEDS = (1, 2)
"""Seeds of the two runs."""


class Finding(Frozen):
    """One line of the table: what was found, its value, and where."""

    what: str
    value: str
    where: str


class Asking(Frozen):
    """Questions to the user; each is answered by an option, by ``--yes`` or at the terminal."""

    yes: bool

    def choose(self, what: str, options: Sequence[str]) -> int:
        """Number of the answer, the first one by default."""
        if self.yes or len(options) < 2:
            return 0
        for number, text in enumerate(options, 1):
            print(f"  {number}  {text}", file=sys.stderr)
        while True:
            said = self._ask(f"{what}, 1 to {len(options)}", "1")
            if said.isdigit() and 1 <= int(said) <= len(options):
                return int(said) - 1

    def words(self, what: str, default: str, fault: Callable[[str], str]) -> str:
        """The answer, asked for until it has no ``fault``; that says what is wrong with it."""
        said = default if self.yes else self._ask(what, default)
        while not self.yes and (wrong := fault(said)):
            print(f"  {one_line(wrong)}", file=sys.stderr)
            said = self._ask(what, default)
        return said

    def agrees(self, what: str) -> bool:
        return self.yes or self._ask(f"{what} (y/n)", "y").lower().startswith("y")

    def _ask(self, what: str, default: str) -> str:
        print(f"{what} [{default}]: ", end="", file=sys.stderr, flush=True)
        said = sys.stdin.readline()
        if not said:
            raise UsageError("the answers ended; add --yes to take what is found")
        return said.strip() or default


class Draft(Frozen):
    """What is known of the task so far: values of its ``task.yaml``, and where each is from."""

    folder: Folder
    values: Mapping[str, Any]
    interpreter: Interpreter | None = None
    findings: tuple[Finding, ...] = ()

    def found(self, what: str, value: str, where: str) -> Draft:
        return replace(self, findings=(*self.findings, Finding(what, value, where)))

    def having(self, **values: Any) -> Draft:
        """With some values; ``None`` takes one away."""
        kept = {k: v for k, v in {**self.values, **values}.items() if v is not None}
        return replace(self, values=kept)


class Probe(Frozen):
    """Runs of the script as a session makes them, in a store that is thrown away."""

    options: argparse.Namespace
    asking: Asking
    settings: Config
    harness: Path
    place: Path
    widened: Callable[[Draft], Draft]

    def examined(self, draft: Draft) -> Draft:
        """The draft with all that the script's own runs tell."""
        draft = self._prepared(self._device(self._budget(self._isolation(draft))))
        ways = self._ways(draft)
        draft, way, record, log = self._first(draft, ways)
        numbers = [n for n in printed_numbers(log) if abs(n.values[-1]) < float("inf")]
        draft, decides = self._metric(draft, numbers, log)
        draft = self._seeded(draft, ways[ways.index(way) :], decides)
        return self._measured(draft, numbers, log, record)

    def _isolation(self, draft: Draft) -> Draft:
        """With what keeps runs apart; said before anything is run where nothing does."""
        kind = choose_sandbox(self.settings.isolation)
        if kind is SandboxKind.NONE:
            why = stronger_advice(self.settings.isolation, kind) or "isolation is none"
            tell(NAME, f"there is no sandbox: the script has all of your rights ({why})")
        return draft.found("sandbox", str(kind), f"isolation: {self.settings.isolation}")

    def _budget(self, draft: Draft) -> Draft:
        """With the budget that the code is told, or that it is known to set itself."""
        texts = [draft.folder.texts.get(n, "") for n in (*draft.values["mutable"], *_fixed(draft))]
        budget = default_budget(texts)
        aware = not budget.get("fixed")
        seconds, steps = self.options.budget_seconds, self.options.budget_steps
        if aware:
            budget = {"seconds": AWARE_SECONDS}
        if seconds is not None or steps is not None:
            given = {"seconds": seconds, "steps": steps}
            budget = {k: v for k, v in given.items() if v is not None}
            budget |= {} if aware else {"fixed": True}
        return draft.having(budget=budget, timeout_seconds=self.options.seconds)

    def _device(self, draft: Draft) -> Draft:
        """On a GPU where there is one, and the code speaks of it."""
        names = (*draft.values["mutable"], *_fixed(draft))
        if not any("cuda" in draft.folder.texts.get(name, "") for name in names):
            return draft
        gpus = visible_gpus(nvml_library(), os.environ.get(VISIBLE_GPUS))
        if not gpus:
            return draft
        threads = min(8, os.cpu_count() or 1)
        return draft.having(device="gpu", threads=threads).found("device", gpus[0].name, "nvidia")

    def _prepared(self, draft: Draft) -> Draft:
        """With caches that the folder's own preparation fills, made now if the user agrees."""
        folder = draft.folder
        if "prepare.py" not in folder.names:
            return draft
        homes = home_caches(["prepare.py"], folder.texts)
        wanted = [name for name in homes if not Path(name).expanduser().is_dir()]
        if not wanted:
            return draft
        if not self.asking.agrees(f"make {', '.join(wanted)} with: python prepare.py"):
            raise InputMissingError(
                f"{wanted[0]}: expected the folder that runs read, found none; make it: cd "
                f"{folder.path} && python prepare.py"
            )
        tell(NAME, f"preparing {', '.join(wanted)}: python prepare.py, with the network")
        made = draft.having(
            prepare=["python", "prepare.py"], cache=[*draft.values.get("cache", ()), *homes]
        )
        task = self._task(made)
        store = Store(StorePaths(self.place / "prepared"))
        Preparation(task, task.environment_of(None), draft.interpreter).fill_caches(store)
        return made.found("cache", ", ".join(homes), "made now by prepare.py")

    def _task(self, draft: Draft) -> Task:
        folder = draft.folder.path
        told = values_of(draft.values, folder)
        values = complete_values(told, folder, folder.name, str(folder / DEFINITION))
        return build_task(values, folder, self.harness, None, None, folder)

    def _ways(self, draft: Draft) -> list[tuple[Any, str]]:
        """Ways in which the script may learn its seed, the surest first."""
        if self.options.seed is not None:
            return [(self.options.seed, "--seed")]
        names = (*draft.values["mutable"], *_fixed(draft))
        return seed_ways(names, draft.values["mutable"], draft.folder.texts) or [NO_WAY]

    def run(self, draft: Draft, seed: int) -> tuple[RunRecord, str]:
        """Record and log of one run of the script."""
        task = self._task(draft)
        program = resolve_command(task.command, draft.interpreter)[0]
        if "/" not in program and shutil.which(program) is None:
            raise UsageError(
                f"{shown(task.command)}: there is no program {one_line(program)!r:.60} on the "
                "PATH; install it, or name another command with --command"
            )
        limit = spoken_duration(self.options.seconds)
        way = _seed_words(draft.values["seed"])
        tell(NAME, f"running {shown(task.command)} with seed {seed} ({way}), at most {limit} ...")
        store = Store(StorePaths(self.place / "store"))
        where = Path(tempfile.mkdtemp(dir=self.place))

        def put(names: Iterable[str]) -> dict[str, str]:
            return {name: store.put((task.folder / name).read_bytes()) for name in names}

        caches = [each for each in task.caches if cache_source(each, task.folder).is_dir()]
        spec = RunSpec(
            command=task.command,
            sources=put(task.mutable),
            fixed=put(task.fixed),
            data={},
            seed=seed,
            budget_seconds=task.budget_seconds,
            budget_steps=task.budget_steps,
            timeout_seconds=self.options.seconds,
            threads=task.threads,
            metric="",
            device=task.device,
            network=task.network,
            variables=task.variables,
            seeding=task.seeding,
            hardware=current_hardware(task.device, devices=self.settings.devices),
            isolation=self.settings.isolation,
            python=draft.interpreter,
            mounts=[cache_mount(each, task.folder) for each in caches],
        )
        claim, devices = Claim("", str(where), "a first run"), self.settings.devices
        with leased(spec, claim, devices, lambda why: tell(NAME, f"... {why}")) as here:
            record = execute_run(here, store, where)
        log = where / LOG
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        tell(NAME, f"... it took {_spoken(record.wall_seconds)}")
        # Its files' places in the folder of a run, which is gone soon, tell nobody anything.
        return record, re.sub(rf"{re.escape(str(where))}/\w+/", "", text)

    def _first(
        self, draft: Draft, ways: Sequence[tuple[Any, str]]
    ) -> tuple[Draft, tuple[Any, str], RunRecord, str]:
        """The first run that ends well, with what it took: more files, the network, another way."""
        tried = draft.having(seed=ways[0][0])
        record, log = self.run(tried, SEEDS[0])
        if record.exit_code == 0:
            return tried, ways[0], record, log
        command = shown(draft.values["command"])
        if record.outcome is Outcome.TIMEOUT:
            raise DataError(
                f"{command}: did not end within {self.options.seconds:g} s; allow more with "
                "--seconds, or name a command that trains for less with --command"
            )
        if NETWORK.search(log) and not draft.values.get("network"):
            if not self.asking.agrees(
                "it fails without the network; open it to all runs, which could then send what "
                "they read"
            ):
                raise DataError(
                    f"{command}: fails without the network; fetch what it reads into "
                    f"{draft.folder.path} first, and name it with --fixed"
                )
            tell(NAME, "it fails without the network: its runs have the network from now on")
            value = "open to all runs, which could send what they read"
            wider = draft.having(network=True).found("network", value, "it fails without")
            return self._first(wider, ways)
        whole = self.widened(draft)
        if self.options.fixed is None and _fixed(whole) != _fixed(draft):
            tell(NAME, "it failed; trying again with all files of the folder")
            return self._first(whole, ways)
        if len(ways) > 1:
            tell(NAME, f"it failed with its seed as {_seed_words(ways[0][0])}; trying another way")
            return self._first(draft, ways[1:])
        for line in clean_lines(log)[-SHOWN_LINES:]:
            print(f"  | {one_line(line)}", file=sys.stderr)
        failure = find_failure(record.outcome, record.reason, log)
        ended = "signal" if record.exit_code is None else "status"
        number = record.signal if record.exit_code is None else record.exit_code
        raise DataError(
            f"{command}: ended with {ended} {number}; the cause is {LABELS[failure.cause]}: "
            f"{failure.words or 'it said nothing'}. {_todo(failure, draft)}"
        )

    def _metric(self, draft: Draft, numbers: Sequence[Printed], log: str) -> tuple[Draft, Printed]:
        """With the metric, its direction and where it was found."""
        if not numbers:
            raise DataError(
                f"{shown(draft.values['command'])}: printed no number with a name; let the "
                "script print its metric at its end, such as print(f'val_loss: {loss:.6f}')"
            )
        documents = draft.folder.documents
        ranked = sorted(numbers, key=lambda n: _rank(n, documents, log), reverse=True)
        if self.options.metric is not None:
            ranked = [n for n in numbers if self.options.metric in (n.label, n.name)]
            if not ranked:
                known = ", ".join(repr(n.label) for n in numbers[-12:])
                raise UsageError(
                    f"--metric: expected a number that the script prints ({known}), found "
                    f"{self.options.metric!r}"
                )
        offered = [f"{n.label}  ({n.values[-1]:g})" for n in ranked[:6]]
        chosen = ranked[self.asking.choose("which number decides", offered)]
        sign = stated_goal(chosen, documents)[1]
        by_name = direction_of(chosen.name)
        direction, where = by_name, "its name"
        if sign:
            direction = Direction.MINIMIZE if sign < 0 else Direction.MAXIMIZE
            where = "the documents"
        if self.options.direction is not None:
            direction, where = Direction(self.options.direction), "--direction"
        elif direction is None and self.asking.yes:
            raise UsageError(
                f"neither the name {chosen.label!r} nor a document says which way is better; add "
                "--direction minimize or --direction maximize, or another --metric of "
                f"{', '.join(repr(n.label) for n in ranked[:12])}"
            )
        elif not self.asking.yes:
            default = (direction or Direction.MINIMIZE).value

            def fault(said: str) -> str:
                return "" if said in list(Direction) else "expected minimize or maximize"

            direction = Direction(self.asking.words("minimize or maximize it", default, fault))
        assert direction is not None
        metric = {"name": chosen.name, "direction": direction.value, **_pattern(chosen, log)}
        value = f"{chosen.label}, {direction.better} is better: {chosen.values[-1]:g}"
        others = [
            n.label for n in ranked[1:] if direction_of(n.name) or stated_goal(n, documents)[0]
        ]
        draft = draft.having(metric=metric).found("metric", value, f"printed; direction: {where}")
        if others:
            draft = draft.found("", f"others: {', '.join(others[:3])}", "choose with --metric")
        return draft, chosen

    def _seeded(self, draft: Draft, ways: Sequence[tuple[Any, str]], decides: Printed) -> Draft:
        """With the way in which the seed has an effect: a second run tells."""
        first = decides.values[-1]
        for way, where in ways:
            tried = draft.having(seed=way)
            if where == "--seed":
                return tried.found("seed", _seed_words(way), where)
            record, log = self.run(tried, SEEDS[1])
            found = [n for n in printed_numbers(log) if n.label == decides.label]
            if record.exit_code == 0 and found and found[0].values[-1] != first:
                value = f"{_seed_words(way)}: {first:g} and {found[0].values[-1]:g}"
                return tried.found("seed", value, where)
        return draft.having(seed="environment").found(
            "seed", "no effect: two runs print the same; chance is not measured", "two runs"
        )

    def _measured(
        self, draft: Draft, numbers: Sequence[Printed], log: str, record: RunRecord
    ) -> Draft:
        """With memory, steps, curve, budget and limit."""
        memory = _memory(numbers)
        if memory is not None:
            number, megabytes = memory
            entry = {"name": number.name, "megabytes": megabytes, **_pattern(number, log)}
            draft = draft.having(memory=entry)
            draft = draft.found("memory", f"{number.values[-1] * megabytes:,.1f} MiB", number.label)
        elif record.peak_memory_mb is not None:
            draft = draft.found("memory", f"{record.peak_memory_mb:,.1f} MiB", "measured")
        steps, curve = (
            printed_steps(numbers),
            curve_parts(printed_curve(log.encode(errors="replace"))),
        )
        if steps is not None:
            least = "" if steps[1] else "at least "
            draft = draft.found("steps", f"{least}{steps[0]:,}", f"printed as {steps[2]}")
        if len(curve) > 1:
            ends = f"{curve[0][1]:g} to {curve[-1][1]:g} in {len(curve)} points"
            draft = draft.found("curve", ends, "lines with step and loss")
        budget = dict(draft.values["budget"])
        where = "the code reads Ratchet's variables"
        given = (self.options.budget_seconds, self.options.budget_steps) != (None, None)
        if given:
            where = "--budget"
        elif budget.get("fixed"):
            where = "set by the code itself"
            seconds = _training_seconds(numbers) or record.wall_seconds
            if "steps" in budget:
                budget["steps"] = steps[0] if steps and steps[1] else 1
            else:
                budget["seconds"] = float(f"{max(seconds, 0.01):.3g}")
        words = plural(budget["steps"], "step") if "steps" in budget else f"{budget['seconds']:g} s"
        words = "one whole training" if budget == {"steps": 1, "fixed": True} else words
        limit = float(round(max(LEAST_TIMEOUT_SECONDS, TIMES_WALL * record.wall_seconds)))
        draft = draft.having(budget=budget, timeout_seconds=limit).found("budget", words, where)
        took = _spoken(record.wall_seconds)
        draft = draft.found("time limit", f"{limit:g} s", f"a run took {took}")
        if not budget.get("fixed"):
            return draft
        # An edit of what says how long it trains would buy its gain.
        name = "cpu_seconds" if draft.values.get("device", "cpu") == "cpu" else "wall_seconds"
        most = float(f"{TIMES_WORK * float(record.numbers[name] or 0.0) + SLACK_SECONDS:.3g}")
        draft = draft.having(constraints=[{"name": name, "max": most}])
        return draft.found("constraint", f"{name} at most {most:g}", "twice what it took, and 5 s")


def _spoken(seconds: float) -> str:
    return spoken_duration(seconds) if seconds >= 10 else f"{seconds:.1f} s"


def _todo(failure: Failure, draft: Draft) -> str:
    """What to do about a script that fails."""
    words = draft.values["command"]
    if failure.cause is Cause.IMPORT:
        package = failure.subject.partition(".")[0] or "it"
        return f"Name the environment that has {package} with --python PLACE"
    if failure.cause is Cause.DATA:
        return (
            f"Make its data in {draft.folder.path} first, as its README says; files that it does "
            "not name, and links that lead out of the folder, are named with --fixed"
        )
    if failure.cause is Cause.CODE and _WANTS_ARGUMENTS.search(failure.words):
        line = shlex.quote(f"{shown(words)} ARGUMENTS")
        return f"If it needs arguments, give them: --command {line}"
    line = f"cd {shlex.quote(str(draft.folder.path))} && {shown(words)}"
    return (
        f"See that it runs by hand ({line}); then name what differs: --command, --python (its "
        "environment) or --fixed (its files)"
    )


_WANTS_ARGUMENTS = re.compile(
    r"(?i)IndexError: (list|tuple) index|\busage\b|error: .*\b(argument|option)"
    r"|Missing (option|argument)"
)

MOST_SHOWN = 60
"""Characters of a word of a command that are shown: a notebook's is a small program."""


def shown(command: Sequence[str]) -> str:
    """A command as it is typed, long words cut."""
    return shlex.join(shorten(word, MOST_SHOWN) for word in command)


NO_WAY: tuple[Any, str] = ("environment", "no seed stands in the files")


def _fixed(draft: Draft) -> Sequence[str]:
    return tuple(draft.values.get("fixed", ()))


def _seed_words(way: Any) -> str:
    if not isinstance(way, Mapping):
        return {"environment": "RATCHET_SEED", "hook": "a hook moves it"}.get(str(way), str(way))
    kind, value = next(iter(way.items()))
    return f"{kind} {value}"


def _pattern(number: Printed, log: str) -> dict[str, str]:
    """The key ``pattern`` of a number that its name alone does not find."""
    if parse_summary(log).get(number.name) == number.values[-1]:
        return {}
    pattern = number.pattern(log)
    if not pattern:
        raise DataError(
            f"{number.label!r}: is printed so that no pattern finds its last value alone; let the "
            f"script print it on a line of its own at its end, or name another with --metric"
        )
    return {"pattern": pattern}


_HELD_OUT = ("val", "valid", "validation", "test", "eval", "dev", "heldout")
_TIMES = ("time", "seconds", "sec", "secs", "elapsed", "duration", "minutes", "speed", "rate")


def _rank(number: Printed, documents: Sequence[str], log: str) -> tuple[float, int]:
    """How likely a number decides: by documents, by its name, by where it stands in the log."""
    plain = normal_name(number.name)
    words = plain.split("_")
    named, sign = stated_goal(number, documents)
    known = direction_of(plain) is not None or bool(sign)
    score = 3.0 * (known and named) + 2.0 * known
    score += 2.0 - 0.1 * PREFERRED.index(plain) if plain in PREFERRED else 0.0
    score += 2.0 * bool(set(words) & set(_HELD_OUT)) + 0.5 * bool({"final", "best"} & set(words))
    score -= 3.0 * bool({"train", "training"} & set(words))
    score -= 4.0 * bool(MEMORY_NAME.search(plain) or set(words) & set(_TIMES))
    score -= 2.0 * names_no_goal(plain)
    score += 1.0 * (len(number.values) == 1 or number.name in parse_summary(log))
    return score, number.line


def _memory(numbers: Sequence[Printed]) -> tuple[Printed, float] | None:
    """The printed number that is an amount of memory with a unit."""
    for number in reversed(numbers):
        unit = memory_unit(number)
        if unit is not None and MEMORY_NAME.search(normal_name(number.name)):
            return number, unit
    return None


def _training_seconds(numbers: Sequence[Printed]) -> float | None:
    """Seconds of training that a run printed."""
    known = [n for n in numbers if {"training", "train"} & set(normal_name(n.name).split("_"))]
    return next((n.values[-1] for n in known if n.name.endswith(("seconds", "secs"))), None)
