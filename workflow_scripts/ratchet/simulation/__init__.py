"""Simulated sessions with known truth."""
