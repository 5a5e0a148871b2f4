"""Is this candidate truly better?  A Bayesian judge under run-to-run noise.

The names below are the package's stable interface; the modules behind it may change.
They are imported when they are asked for: numpy comes with the judge, and takes longer to
import than most steps of a session take to work.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ratchet.judge.judge import Assessment, Judge, Replay, replay
    from ratchet.judge.settings import REFERENCE_SCALE, Mode, Settings, scale_from
    from ratchet.judge.tradeoffs import Efficiency, Prices, credit, efficiency

_MODULES = {
    "judge": ("Assessment", "Judge", "Replay", "replay"),
    "settings": ("REFERENCE_SCALE", "Mode", "Settings", "scale_from"),
    "tradeoffs": ("Efficiency", "Prices", "credit", "efficiency"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "REFERENCE_SCALE",
    "Assessment",
    "Efficiency",
    "Judge",
    "Mode",
    "Prices",
    "Replay",
    "Settings",
    "credit",
    "efficiency",
    "replay",
    "scale_from",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
