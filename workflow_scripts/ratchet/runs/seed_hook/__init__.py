"""Start-up hook of runs whose seeds are moved: a folder for PYTHONPATH."""
