"""Recordings in batch, rows in every output format, and the recorder of a live stream."""
