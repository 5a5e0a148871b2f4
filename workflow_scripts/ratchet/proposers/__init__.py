"""Sources of proposals: declared changes, coding agents."""
