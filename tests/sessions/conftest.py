"""Played sessions that tests of several modules look at."""

from pathlib import Path

from helpers.boxes import Box, make_box
from helpers.recorded import play_default, play_fake
from helpers.shared import shared_box


@shared_box
def certified(path: Path) -> Box:
    """A session of some ten rounds, whose kept changes were certified."""
    return play_fake(make_box(path, task="tasks/fake", rounds=12, certify=True))


@shared_box
def charged(path: Path) -> Box:
    """Twelve rounds in which memory has a price, so that it decides about some."""
    return play_fake(make_box(path, task="tasks/fake", rounds=12, memory_price=0.2))


@shared_box
def honest(path: Path) -> Box:
    """A session of the default task whose gain is as large on unseen data."""
    return play_default(path, {})
