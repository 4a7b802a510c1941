"""Corpora, recording conditions, features, folds and windows: what a network learns from."""
