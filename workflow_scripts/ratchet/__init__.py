"""Ratchet: which improvements of a training script are real, and the proof.

    session = ratchet.open_session("default")
    ratchet.audit_log("results.tsv")

These, the classes of what they give, and :mod:`ratchet.judge` are the interface for Python.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ratchet.interface.logs import AuditedChange, LogAudit, LogRow, audit_log
    from ratchet.interface.sessions import (
        Champion,
        Curve,
        Experiment,
        Run,
        Samples,
        Session,
        open_session,
    )

__all__ = [
    "AuditedChange",
    "Champion",
    "Curve",
    "Experiment",
    "LogAudit",
    "LogRow",
    "Run",
    "Samples",
    "Session",
    "audit_log",
    "open_session",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Loads the interface when it is first asked for; commands and steps start without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ratchet.interface import logs, sessions

    return getattr(sessions if hasattr(sessions, name) else logs, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
