"""Is this candidate truly better?  A Bayesian judge under run-to-run noise.

The stable interface of the package; the modules behind it may change.
"""

from ratchet.judge.assessment import Assessment
from ratchet.judge.core import Judge
from ratchet.judge.pareto import Efficiency, efficiency
from ratchet.judge.price import Prices, credit
from ratchet.judge.replay import Replay, replay
from ratchet.judge.settings import (
    REFERENCE_SCALE,
    Mode,
    Settings,
    keep_probability,
    scale_from,
)

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
    "keep_probability",
    "replay",
    "scale_from",
]
