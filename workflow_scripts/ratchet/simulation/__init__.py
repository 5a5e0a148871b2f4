"""Simulated sessions with known truth, and the power of replicates."""
