"""Where proposals come from: declared changes, coding agents."""
