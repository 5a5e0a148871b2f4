"""``program.md``: what whoever proposes is told of a task, written, checked, updated.

Pure: texts in, texts and findings out.
"""

from ratchet.program.checking import Finding, check
from ratchet.program.contract import Contract, PastSession
from ratchet.program.template import render
from ratchet.program.updating import update

__all__ = ["Contract", "Finding", "PastSession", "check", "render", "update"]
