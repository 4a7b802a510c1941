"""Streaming speech emotion recognition: audio in, smoothed emotion posteriors out."""

import os

__version__ = "0.1.0"

# Since 1.29 ONNX Runtime sends telemetry on Linux too: it keeps a device id and a queue of events
# in the user's cache folder, and sends them to its maker. It reads this variable when it is
# imported, so import this package first. Set whatever the environment holds: "0" would switch
# telemetry on.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
