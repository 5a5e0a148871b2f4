"""The commands that show an experiment and run it once more, by hand.

They need git, the session's folder, the store and the task's environment; nothing is
recorded.  A run started so measures the metric itself, without the evaluator.
"""

from __future__ import annotations

import shlex

from ratchet.declared_values import SEED
from ratchet.report import text
from ratchet.report.inputs import Facts, Recipe

REFS = "refs/ratchet/experiments"
"""Where a session's repository names the commit of every experiment."""

PLACE = "again"
"""Folder, beside results and store, where the commands work."""


def preparation(recipe: Recipe) -> list[str]:
    """What has to be done once in a shell, before any experiment is run again in it."""
    places = sorted({f"{PLACE}/data/{name}".rpartition("/")[0] for name in recipe.data})
    lines = [f"mkdir -p {' '.join(map(shlex.quote, places or [f'{PLACE}/data']))}"]
    lines += [
        f"cp -f {shlex.quote(place)} {shlex.quote(f'{PLACE}/data/{name}')}"
        for name, place in sorted(recipe.data.items())
    ]
    lines += [
        f"again() {{ (mkdir -p {PLACE}/$1 && {_git(recipe)} archive {REFS}/$1"
        f" | tar -x -C {PLACE}/$1 && cd {PLACE}/$1",
        '  export RATCHET_SEED="$2" RATCHET_DATA="$PWD/../data"',
    ]
    lines += [
        f"  export {name}={shlex.quote(value)}" for name, value in sorted(recipe.variables.items())
    ]
    if recipe.hook:
        found = "import ratchet.hooks as h; print(*h.__path__)"
        lines.append(f'  export PYTHONPATH="$(python -c {shlex.quote(found)})"')
    if recipe.seeding.variable:
        lines.append(f'  export {recipe.seeding.variable}="$2"')
    if recipe.seeding.constant:
        lines.append(f"  # the harness sets {recipe.seeding.constant} to the seed, $2, here")
    lines.append(f"  {_words(recipe)}); }}")
    return [text.clean(line) for line in lines]


def _words(recipe: Recipe) -> str:
    """The command, with the seed where a word of it is the seed's."""
    words = [shlex.quote(word) for word in recipe.command]
    if recipe.seeding.argument:
        before, _, after = recipe.seeding.argument.partition(SEED)
        words.append(f'{shlex.quote(before)}"$2"{shlex.quote(after) if after else ""}')
    return " ".join(words)


def commands(recipe: Recipe, e: Facts) -> list[str]:
    """Commands for one experiment: see its edit, and its first run again."""
    if not e["commit"]:
        return []
    found = [f"{_git(recipe)} show {REFS}/{e['number']:04d}"]
    if e["runs"]:
        found.append(f"again {e['number']:04d} {e['runs'][0]['seed']}")
    return [text.clean(line) for line in found]


def _git(recipe: Recipe) -> str:
    return f"git -C {shlex.quote(recipe.folder)}"
