"""Standing of a session while it runs, messages, and readiness of a machine."""
