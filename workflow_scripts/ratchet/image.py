"""Last step of building an image: write down what it holds, and close what it hides.

    python -m ratchet.image --base NAME --revision REV --group GROUP --output FILE TASK.YAML...

Packages that tasks hide from their runs become readable by one group alone; the
locks whose packages are all installed are named by their digests.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from ratchet import environment, files
from ratchet.errors import DataError, RatchetError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ratchet.image", description=__doc__)
    parser.add_argument("--base", required=True, help="the image that this one is made from")
    parser.add_argument("--revision", required=True, help="revision of the source")
    parser.add_argument("--group", required=True, help="who may read hidden packages")
    parser.add_argument("--output", type=Path, required=True, help="the file to write")
    parser.add_argument(
        "--environments", type=Path, default=Path(), help="folder of the tasks' own, as .venv-NAME"
    )
    parser.add_argument("tasks", type=Path, nargs="+", metavar="TASK.YAML")
    options = parser.parse_args(arguments)
    try:
        hidden = sorted({name for path in options.tasks for name in hidden_packages(path)})
        own = [str(place) for place in sorted(options.environments.glob(".venv-*"))]
        close(environment.package_paths(hidden, own), options.group)
        facts = {
            "base": options.base,
            "revision": options.revision,
            "hidden": hidden,
            "locks": held(sorted(Path("envs").glob("*.lock"))),
        }
        files.write_json(options.output, facts)
    except RatchetError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def hidden_packages(definition: Path) -> list[str]:
    """What a task hides from its runs; raises :class:`DataError` if that is no list."""
    try:
        found = yaml.safe_load(files.read_bytes(definition)).get("hidden") or []
    except (yaml.YAMLError, AttributeError) as error:
        raise DataError(f"{definition}: is no task ({error})") from None
    if not isinstance(found, list):
        raise DataError(f"{definition}: `hidden` must be a list, found {found!r}")
    return [str(name) for name in found]


def held(locks: Iterable[Path]) -> list[str]:
    """Digests of the locks whose packages are all installed here."""
    found = []
    for lock in locks:
        try:
            environment.verify(lock)
        except DataError:
            continue
        found.append(files.digest_file(lock))
    return sorted(found)


def close(paths: Iterable[Path], group: str) -> None:
    """Leave files and folders to root and to one group."""
    for top in paths:
        for path in [top, *top.rglob("*")]:
            if path.is_symlink():
                continue
            shutil.chown(path, group=group)
            os.chmod(path, path.stat().st_mode & ~0o007)  # noqa: PTH101


if __name__ == "__main__":
    sys.exit(main())
