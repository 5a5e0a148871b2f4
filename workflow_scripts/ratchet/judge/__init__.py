"""Is this candidate truly better?  A Bayesian judge under run-to-run noise.

The stable interface of the package; the modules behind it may change.
"""

from ratchet.judge.judge import Assessment, Judge, Replay
from ratchet.judge.judge import replay_log as replay
from ratchet.judge.settings import (
    REFERENCE_SCALE,
    JudgeMode,
    Settings,
    keep_probability,
    scale_from,
)
from ratchet.judge.tradeoffs import Efficiency, Prices, credit_used, efficiency

__all__ = [
    "REFERENCE_SCALE",
    "Assessment",
    "Efficiency",
    "Judge",
    "JudgeMode",
    "Prices",
    "Replay",
    "Settings",
    "credit_used",
    "efficiency",
    "keep_probability",
    "replay",
    "scale_from",
]
