"""Train the papers' models on open corpora; needs PyTorch."""

# First of all: it switches off the telemetry of a library that others may import.
import ser_stream  # noqa: F401
