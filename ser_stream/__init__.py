"""Streaming speech emotion recognition: audio in, smoothed emotion posteriors out."""

__version__ = "0.1.0"
