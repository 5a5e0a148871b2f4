"""What a run may see and touch of the machine."""
