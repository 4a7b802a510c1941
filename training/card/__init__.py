"""Report cards: what a model file is worth, measured through the runtime."""
