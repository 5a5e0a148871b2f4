"""Reports of sessions, logs, audits and tournaments."""
