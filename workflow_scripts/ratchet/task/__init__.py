"""Tasks: definition, presets, repository, environment, edits of files."""
