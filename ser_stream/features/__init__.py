"""From samples to frames to normalised windows; training computes the same."""
