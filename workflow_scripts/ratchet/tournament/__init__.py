"""Competing strategies whose verified wins are passed on."""
