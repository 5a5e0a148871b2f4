"""Session data on disk: records, paths, store, events, history, git repository."""
