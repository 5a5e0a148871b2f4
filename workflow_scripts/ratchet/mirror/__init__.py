"""Sessions copied to another place as they run, and brought back from there."""
