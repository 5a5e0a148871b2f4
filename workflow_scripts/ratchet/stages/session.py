"""Where sessions used to be opened; see :mod:`ratchet.session`."""

from ratchet.session import Session as Session
