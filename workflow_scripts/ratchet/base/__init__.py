"""Errors, files, text, git and statistics that know nothing of research."""
