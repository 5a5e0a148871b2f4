"""The stages of a session: each reads small files, does one thing, writes one."""
