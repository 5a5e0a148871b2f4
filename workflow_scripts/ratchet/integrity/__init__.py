"""What code may not do if its measurement is to count; pure, by reading it."""

from ratchet.integrity.flags import Flag, flags, only_reseeds
from ratchet.integrity.jump import confirms, implausible
from ratchet.integrity.offences import Contract, Severity

__all__ = ["Contract", "Flag", "Severity", "confirms", "flags", "implausible", "only_reseeds"]
