"""Is this candidate truly better?  A Bayesian judge under run-to-run noise.

The stable interface of the package; the modules behind it may change.
"""

from ratchet.judge.judge import Assessment, Judge, Replay, replay
from ratchet.judge.settings import REFERENCE_SCALE, Mode, Settings, keep_probability, scale_from
from ratchet.judge.tradeoffs import Efficiency, Prices, credit, efficiency

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
