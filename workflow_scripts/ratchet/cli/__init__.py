"""Command lines for people: arguments in, text or JSON and an exit code out."""
