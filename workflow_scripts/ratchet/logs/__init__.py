"""Anybody's results.tsv and run logs: reading, judging, auditing."""
