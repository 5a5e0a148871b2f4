"""What a session keeps on disk: records, paths, store, events, history, git repository."""
