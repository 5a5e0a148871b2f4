"""What one run gets of the machine: its folder, what it may read, what is hidden from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ratchet.base.structs import Frozen, field


class Box(Frozen):
    """What one run gets: absolute, resolved paths.

    ``work`` is writable but for ``fixed``, files and folders in it.  ``mounts``
    maps places in ``work`` to read-only files elsewhere (where that is possible).
    ``readable`` is seen beside the environment; ``hidden`` is taken out again.
    """

    work: Path
    fixed: Sequence[Path] = ()
    mounts: Mapping[Path, Path] = field(default_factory=dict)
    readable: Sequence[Path] = ()
    hidden: Sequence[Path] = ()
    network: bool = False
    gpu: bool = False
