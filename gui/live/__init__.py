"""The live page, the stream behind it, and what it remembers."""
