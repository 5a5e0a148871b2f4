"""What code may not do if its measurement is to count; pure, by reading it."""

from ratchet.integrity.flags import Flag, flags, only_reseeds
from ratchet.integrity.jump import confirms, implausible
from ratchet.integrity.likeness import Trace, charged_mb, unlike
from ratchet.integrity.offences import Contract, Severity

__all__ = [
    "Contract",
    "Flag",
    "Severity",
    "Trace",
    "charged_mb",
    "confirms",
    "flags",
    "implausible",
    "only_reseeds",
    "unlike",
]
