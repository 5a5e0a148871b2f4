"""Runs of a session in the tools that people keep their experiments in: trackio, W&B, MLflow."""
