"""The live page, the stream behind it, and its history."""
