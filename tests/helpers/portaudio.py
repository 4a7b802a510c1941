"""PortAudio without hardware."""

from __future__ import annotations


class PortAudioError(Exception):
    """What sounddevice raises."""
