"""What is researched: task, presets, repository, environment, edits of its files."""
