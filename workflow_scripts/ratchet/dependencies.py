"""What code a step's result depends on, as a digest over sources."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ratchet.canonical import digest, digest_bytes
from ratchet.codec import Frozen

EXTRAS = ("*.html", "*.css", "*.js", "vendor/*", "templates/*")
"""What a module's folder holds beside code that its result depends on."""


@functools.cache
def code_digest(*modules: str) -> str:
    """Digest over the sources of these modules and all that they import of ratchet."""
    package = Path(__file__).parent
    todo, seen = list(modules), dict[str, str]()
    while todo:
        path = _module_path(package, todo.pop())
        name = "" if path is None else str(path.relative_to(package))
        if path is None or name in seen:
            continue
        part = _part(path)
        seen[name] = part.sha256
        seen |= {str(place.relative_to(package)): sha for place, sha in part.extras.items()}
        todo += part.imported
    return digest(seen)


class _Part(Frozen):
    """What one module adds to a digest: itself, its extras, the modules that it names."""

    sha256: str
    extras: Mapping[Path, str]
    imported: Sequence[str]


@functools.cache
def _part(path: Path) -> _Part:
    source = path.read_bytes()
    extras = [extra for kind in EXTRAS for extra in path.parent.glob(kind)]
    return _Part(
        digest_bytes(source),
        {extra: digest_bytes(extra.read_bytes()) for extra in extras},
        imported(source.decode()),
    )


# Parsing every module would take longer than everything else that is done here.
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ ]+(ratchet[\w.]*)[ ]+import[ ]+(\([^)]*\)|.+)|import[ ]+(ratchet\.[\w.]+))",
    re.MULTILINE,
)


def imported(source: str) -> list[str]:
    """Names of ratchet's modules, and of what they hold, that a module's source imports."""
    names = []
    for module, listed, plain in _IMPORT.findall(source):
        if plain:
            names.append(plain)
            continue
        words = re.sub(r"#.*", "", listed).strip("() ,\n").split(",")
        names += [f"{module}.{word.split()[0]}" for word in words if word.strip()]
        names += [module] if module != "ratchet" else []
    return names


def _module_path(package: Path, name: str) -> Path | None:
    path = package.joinpath(*name.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file() and candidate != package / "__init__.py":
            return candidate
    return None
