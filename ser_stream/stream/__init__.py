"""The engine, what it is made of, and the one thread that runs it."""
