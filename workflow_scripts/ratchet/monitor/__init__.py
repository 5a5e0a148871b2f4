"""How a session stands, while it runs."""
