"""What to try next: categories, suggestions, and what a change touches."""
