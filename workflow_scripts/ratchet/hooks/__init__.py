"""What runs import at their start: a folder for PYTHONPATH, not for the harness."""
