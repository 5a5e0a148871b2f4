"""Ratchet: which improvements of a training script are real, and the proof."""

__version__ = "0.1.0"
