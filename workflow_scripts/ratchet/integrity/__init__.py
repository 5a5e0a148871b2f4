"""Is a measurement honest, and is a session intact?"""
