"""Steering: categories ranked, suggestions, and the category of a change."""
