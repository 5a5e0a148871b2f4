"""Sandboxes: limits on what a run may see and touch of the machine."""
