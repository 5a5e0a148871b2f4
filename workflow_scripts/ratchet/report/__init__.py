"""What a researcher reads in the morning."""
