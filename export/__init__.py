"""Turn a trained checkpoint into one verified ONNX bundle."""

# First of all: it switches off the telemetry of a library that others may import.
import ser_stream  # noqa: F401
