"""What training raises on purpose."""

from __future__ import annotations

from ser_stream.errors import SerStreamError


class TrainingError(SerStreamError, ValueError):
    """A run that cannot be trained as it was asked for."""
